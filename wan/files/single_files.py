"""Folders of single files, such as ComfyUI's models/: which file is which part of a model, and which of several is taken.

A file is what its tensors are; its name is asked only for what they cannot say: which of the two experts it is, and whether
it is one of the variants that have a released model's very tensors. Of several, the one with the most bits a weight is
taken, which is the largest, because nothing lossy is chosen for anybody. Two that are equal in that are a question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wan.files.key_names import EXPERT, TEXT_ENCODER, VAE
from wan.files.readers import SHARD, some
from wan.files.weights import UnknownModel, Weights, open_weights
from wan.refusal import Refusal

ROOTS = ("", "models", "split_files")  # ComfyUI itself, its models/, and a repository repackaged for it
SHELVES = ("diffusion_models", "unet", "text_encoders", "clip", "vae")
SUFFIXES = (".safetensors", ".gguf", ".pth")
DEPTH = 3  # folders below the one that was named
ALIKE = 0.01  # of their size, between two files of one format

OFFICIAL = re.compile(
    r"(patch_embedding|text_embedding\.[02]|time_embedding\.[02]|time_projection\.1|head\.head)\.(weight|bias)|head\.modulation"
    r"|blocks\.\d+\.(modulation|(self|cross)_attn\.([qkvo]\.(weight|bias)|norm_[qk]\.weight)|norm3\.(weight|bias)|ffn\.[02]\.(weight|bias))"
)
TWINS = {"fun", "inp", "inpaint"}  # trained further for another purpose, in the same tensors
NOISE = re.compile(r"(high|low)[ _.-]?noise")
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True)
class PartFile:
    path: Path
    size: int


def weights_under(folder: Path) -> list[Path]:
    """On ComfyUI's shelves where there are any, else anywhere in the folder; each file once, however many links lead to it."""
    shelves = [folder / root / shelf for root in ROOTS for shelf in SHELVES if (folder / root / shelf).is_dir()]
    comfyui = any(shelf.name in SHELVES[:2] for shelf in shelves)
    found = [path for shelf in (shelves if comfyui else [folder]) for path in _files(shelf)]
    return list({path.resolve(): path for path in reversed(found)}.values())[::-1]


def _files(folder: Path) -> Iterator[Path]:
    for depth in range(DEPTH + 1):
        paths = sorted(folder.glob("/".join(["*"] * (depth + 1))))
        yield from (
            path
            for path in paths
            if path.suffix.lower() in SUFFIXES and path.is_file() and not SHARD.fullmatch(path.name)
        )


def noise_of(path: Path) -> str | None:
    """ "high" or "low", as the name says; else as its folder is called, where that is all that it is called."""
    name = path.stem if path.suffix.lower() in SUFFIXES else path.name
    said = set(NOISE.findall(name.lower())) or {"high", "low"} & words(name)
    if len(said) == 1:
        return said.pop()
    folder = re.fullmatch(r"(high|low)([ _.-]?noise)?([ _.-]?model)?", path.parent.name.lower())
    return folder[1] if folder and not said else None


def words(name: str) -> set[str]:
    return {word.lower() for word in WORDS.findall(name)}


def foreign(weights: Weights) -> list[str]:
    """Tensors that no released expert has: those of VACE, Animate, S2V, Wan 2.1 I2V and others of the family."""
    return [name for name in weights.parts if not OFFICIAL.fullmatch(name)]


class Shelf:
    """The files of a folder, opened once; what each of them is not is kept for the one that looks for it in vain."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.unread: dict[Path, str] = {}
        self._weights: dict[Path, Weights] = {}
        for path in weights_under(folder):
            try:
                self._weights[path] = open_weights(path)
            except UnknownModel:
                continue
            except (ValueError, OSError) as error:
                self.unread[path] = str(error)

    def experts(self, noise: str, channels: int) -> list[PartFile]:
        return self._of(EXPERT, lambda path, weights: noise_of(path) == noise and _is_expert(path, weights, channels))

    def text_encoders(self) -> list[PartFile]:
        """T5 shares one table of distances among its layers, UMT5 has one in each."""
        return self._of(TEXT_ENCODER, lambda _, weights: "blocks.1.pos_embedding.embedding.weight" in weights.parts)

    def vaes(self) -> list[PartFile]:
        """Other models' VAEs have these very tensors too; those that are named after this family come first."""
        all = self._of(
            VAE, lambda _, weights: "conv2.weight" in weights.parts and weights.shape("conv2.weight")[0] == 16
        )
        named = [file for file in all if "wan" in words(file.path.stem) and "alpha" not in words(file.path.stem)]
        return named or all

    def _of(self, holds: str, fits: Callable[[Path, Weights], bool]) -> list[PartFile]:
        found = [path for path, weights in self._weights.items() if weights.holds == holds and fits(path, weights)]
        return sorted((PartFile(path, path.stat().st_size) for path in found), key=lambda file: -file.size)


def _is_expert(path: Path, weights: Weights, channels: int) -> bool:
    if TWINS & words(path.stem) or foreign(weights):
        return False
    return weights.shape("patch_embedding.weight")[1] == channels and weights.shape("head.head.weight")[0] == 64


def the_one(setting: str, files: Sequence[PartFile]) -> Path:
    """The largest, if there is one larger than the others."""
    equal = [file.path for file in files if _alike(file, files[0])]
    if len(equal) > 1:
        raise Refusal(f"{some(equal)} are equal in size: say which one is meant", setting)
    return files[0].path


def the_pair(high: Sequence[PartFile], low: Sequence[PartFile]) -> tuple[Path, Path]:
    """The best that both experts are there in; where they have no format in common, the best of each."""
    level = next((file for file in high if any(_alike(file, other) for other in low)), None)
    if level is not None:
        high, low = ([file for file in files if _alike(file, level)] for files in (high, low))
    return the_one("high_noise", high), the_one("low_noise", low)


def _alike(one: PartFile, other: PartFile) -> bool:
    return abs(one.size - other.size) <= ALIKE * max(one.size, other.size)
