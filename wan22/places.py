"""Where each part of a checkpoint is: in a release's folder, among ComfyUI's files, or wherever it was named one by one.

All of it is looked at before anything is loaded, headers and a few numbers, so that what is missing, mixed up or another
model's is said at once and not after minutes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from wan.files.checkpoint import PLACES, find_in
from wan.files.key_names import EXPERT, TEXT_ENCODER, VAE
from wan.files.readers import some
from wan.files.single_files import PartFile, Shelf, foreign, noise_of, the_one, the_pair
from wan.files.tokenizers import carries_tokenizer
from wan.files.weights import Weights, open_weights
from wan.refusal import Refusal
from wan22.config import PARTS, TASKS, Task, no_switch
from wan22.plan import Expert

SPOKEN = dict(zip(PARTS, ("high-noise expert", "low-noise expert", "text encoder", "tokenizer", "VAE"), strict=True))


@dataclass(frozen=True)
class Places:
    """Files or folders, one for each of PARTS, which are settings of a request."""

    high_noise: Path
    low_noise: Path
    text_encoder: Path
    tokenizer: Path  # may be the text encoder's file, which may carry one
    vae: Path

    @property
    def experts(self) -> dict[Expert, Path]:
        return {"high": self.high_noise, "low": self.low_noise}

    def told(self, folder: Path | None) -> str:
        """What was taken from where, in one line."""
        said = []
        for name, path in asdict(self).items():
            inside = folder is not None and path.is_relative_to(folder)
            shown = str(path.relative_to(folder)) if folder is not None and inside else str(path)
            same = name == "tokenizer" and path == self.text_encoder
            said.append(f"{name} {'in the text encoder' if same else shown}")
        sizes = [path.stat().st_size for path in self.experts.values() if path.is_file()]
        mixed = len(sizes) == 2 and max(sizes) > 1.05 * min(sizes)
        note = "; the two experts are stored differently" if mixed else ""
        return f"{'' if folder is None else f'{folder}: '}{', '.join(said)}{note}"


def find_places(
    folder: Path | str | None, task: Task, named: Mapping[str, Path | None] | None = None, half: bool = False
) -> Places:
    """What is `named` by the name of a part, and the others in the folder."""
    folder = None if folder is None else Path(folder)
    found = {name: path for name, path in (named or {}).items() if path is not None}
    for name, path in found.items():
        if not path.exists():
            raise Refusal(f"no such file or folder: {path}", name)
    _take_tokenizer(found)
    if wanted := [name for name in PARTS if name not in found]:
        if folder is None:
            raise Refusal(f"no {_spoken(wanted)} is named, and no folder to look in", "ckpt_dir", *wanted)
        check_two_experts(folder, half)
        found |= _in_release(folder, wanted) if is_release(folder) else _in_files(folder, task, wanted, found)
    check_kinds(found, wanted if wanted and folder and not is_release(folder) else ())
    places = Places(**found)
    check_not_mixed_up(places.experts, task)
    return places


def is_release(folder: Path) -> bool:
    """Whether the parts have the names that Wan-AI's releases or diffusers give them; "vae" is ComfyUI's word too."""
    return not folder.is_dir() or bool(
        find_in(folder).keys() & {"high_noise", "low_noise", "text_encoder", "tokenizer"}
    )


def has_experts(folder: Path, task: Task) -> bool:
    """Whether single files in a folder are both experts of this task."""
    shelf = Shelf(folder)
    return all(shelf.experts(noise, task.model.in_dim) for noise in ("high", "low"))


def recognised(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Every file of a folder that is a part of a known task, by what it is, and what is to be said of those not read."""
    shelf = Shelf(folder)
    found = {
        f"{task.name} {noise} noise": shelf.experts(noise, task.model.in_dim)
        for task in TASKS.values()
        for noise in ("high", "low")
    }
    found |= {"text encoder": shelf.text_encoders(), "vae": shelf.vaes()}
    return {what: [file.path for file in files] for what, files in found.items() if files}, list(shelf.unread.values())


def _in_release(folder: Path, wanted: list[str]) -> dict[str, Path]:
    there = {name: path for name, path in find_in(folder).items() if name in wanted}
    _take_tokenizer(there)
    if missing := [name for name in wanted if name not in there]:
        lacks = ", ".join(f"{name} ({' or '.join(PLACES[name])})" for name in missing)
        raise Refusal(f"{folder} lacks {lacks}; download the rest, or name the files one by one", *missing)
    return there


def _in_files(folder: Path, task: Task, wanted: list[str], named: Mapping[str, Path]) -> dict[str, Path]:
    shelf, channels = Shelf(folder), task.model.in_dim
    files = {
        "high_noise": shelf.experts("high", channels),
        "low_noise": shelf.experts("low", channels),
        "text_encoder": shelf.text_encoders(),
        "vae": shelf.vaes(),
    }
    missing = [name for name in files if name in wanted and not files[name]]
    if missing:
        raise Refusal(f"{folder} has no {_spoken(missing)} of {task.name}{_unread(shelf)}", *missing)
    # the other of a pair may have been named
    files |= {name: [PartFile(path, path.stat().st_size)] for name, path in named.items() if name in files}
    pair = the_pair(files["high_noise"], files["low_noise"])
    chosen = dict(zip(PARTS, pair)) | {name: the_one(name, files[name]) for name in ("text_encoder", "vae")}
    found = {name: path for name, path in chosen.items() if name in wanted}
    if "tokenizer" in wanted:
        encoders = [found.get("text_encoder"), *(file.path for file in files["text_encoder"])]
        carrier = next((path for path in encoders if path and carries_tokenizer(path)), None)
        if carrier is None:
            raise Refusal(f"no text encoder in {folder} carries a tokenizer; name a tokenizer.json", "tokenizer")
        found["tokenizer"] = carrier
    return found


def _take_tokenizer(found: dict[str, Path]) -> None:
    """The one that a text encoder carries, where no other is known."""
    if "text_encoder" in found and "tokenizer" not in found and carries_tokenizer(found["text_encoder"]):
        found["tokenizer"] = found["text_encoder"]


def _unread(shelf: Shelf) -> str:
    """Files that might have been it, had they been whole."""
    reasons = list(shelf.unread.values())
    return f"; not read: {some(reasons, 2)}" if reasons else ""


def _spoken(names: list[str]) -> str:
    return " or ".join(SPOKEN[name] for name in names)


def check_kinds(found: Mapping[str, Path], recognised: Collection[str]) -> None:
    """That those which were not taken for what they are are what they were taken for."""
    for name, holds in (("text_encoder", TEXT_ENCODER), ("vae", VAE)):
        if name not in recognised:
            open_weights(found[name]).of(holds)


def check_two_experts(folder: Path, half: bool) -> None:
    """A checkpoint that is one model gets a reason, not a list of what it lacks."""
    if folder.is_file():
        raise Refusal(f"{folder} is a file, one part of five: name the folder of all, or the parts one by one", *PARTS)
    alone = (folder / "transformer").exists() and not (folder / "transformer_2").exists()
    if not (alone or any(folder.glob("diffusion_pytorch_model*"))):
        return
    if half:
        raise no_switch(folder)
    raise ValueError(
        f"{folder} is one model; wan22 runs releases of two experts, such as Wan2.2-T2V-A14B: name its folder"
    )


def check_not_mixed_up(experts: dict[Expert, Path], task: Task) -> None:
    """The two have the same shapes, so names and values are all there is to tell a high-noise expert from a low-noise one."""
    for expert, path in experts.items():
        target = (
            path.resolve()
        )  # a link by the right name may lead to the wrong folder; in a cache, to one without a name
        if (noise_of(target) or noise_of(path)) not in (None, expert):
            raise ValueError(f"the {expert}-noise expert is {target}: the two are swapped; exchange them")
    if torch.equal(*(modulation(path, task) for path in experts.values())):
        raise ValueError(f"{experts['high']} and {experts['low']} are the same expert twice; download the other one")


def modulation(path: Path, task: Task) -> Tensor:
    """A few numbers that training has made an expert's own."""
    weights = open_weights(path)
    check_expert(weights, task)
    numbers = torch.empty(weights.shape("head.modulation"))
    weights.read_into("head.modulation", numbers, scratch=torch.empty(numbers.nbytes, dtype=torch.uint8))
    return numbers


def check_expert(weights: Weights, task: Task) -> None:
    channels, wanted = weights.of(EXPERT).shape("patch_embedding.weight")[1], task.model.in_dim
    if channels != wanted:
        raise ValueError(
            f"{weights.path} reads {channels} channels where {task.name} has {wanted}; use the command it was made for"
        )
    if others := foreign(weights):
        raise ValueError(
            f"{weights.path} has tensors that {task.name} has not ({some(others)}): another model of the family; name a plain one"
        )
