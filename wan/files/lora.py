"""LoRA files: small trained changes of an expert, in every spelling that trainers and programs write, by official names.

A change is `scale * up @ down` of two narrow matrices, or a whole difference of a weight, a bias or a modulation. Nothing but
headers, notes and alphas is read here; what does not belong to this model is kept with the reason. How changes get into a model
is wan.files.merged's business.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from wan.files.key_names import DIFFUSERS_EXPERT, renamed
from wan.files.readers import open_tensors, read_metadata, some
from wan.files.single_files import noise_of
from wan.files.stored import Stored
from wan.files.text import read_json

Expert = Literal["high", "low"]
Shape = tuple[int, ...]

SECOND = "transformer_2."  # diffusers' low-noise expert, which may share a file with the other
PREFIX = re.compile(r"(base_model\.model|model|module|diffusion_model|transformer|transformer_2|pipe\.dit|dit|unet)\.")
FLAT = re.compile(r"(lora_unet|lora_transformer|lycoris)_+")  # then dots are underscores
LETTERS = ("q", "k", "v", "o", "norm_q", "norm_k")
THEIRS = ("to_q", "to_k", "to_v", "to_out.0", "norm_q", "norm_k")
OUTER = ("patch_embedding", "text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2",
         "time_projection.1", "head.head", "head", "proj_out", "condition_embedder.time_proj",
         "condition_embedder.time_embedder.linear_1", "condition_embedder.time_embedder.linear_2",
         "condition_embedder.text_embedder.linear_1", "condition_embedder.text_embedder.linear_2")  # fmt: skip
INNER = (*(f"{side}_attn.{name}" for side in ("self", "cross") for name in LETTERS),
         *(f"attn{n}.{name}" for n in (1, 2) for name in THEIRS),
         "ffn.0", "ffn.2", "ffn.net.0.proj", "ffn.net.2", "norm2", "norm3", "modulation")  # fmt: skip
DOTTED = {name.replace(".", "_"): name for name in (*INNER, *OUTER)}
# an adapter's name may stand inside, such as PEFT's "default"
FACTOR = re.compile(r"(.+)\.lora(_A|_B|_down|_up|\.down|\.up)(?:\.(?!weight$|bias$)\w+)?(?:\.weight)?")
OTHER = re.compile(r"(.+)\.(alpha|diff|diff_b|diff_m)")
DOWN = ("_A", "_down", ".down")
DORA = re.compile(r"(.+)\.(dora_scale|lora_magnitude_vector)(\..*)?")
STRANGERS = (  # what a key says, and why it is passed over
    (re.compile(r"k_img|v_img|img_emb|norm_k_img|add_k_proj|add_v_proj|image_embedder"), "of an older image model"),
    (re.compile(r"lora_te|text_encoder\."), "of a text encoder"),
    (re.compile(r"hada_|lokr_|lora_mid|oft_"), "of a kind that is not read here"),
)
PEFT_NOTE = "lora_adapter_metadata"  # JSON, in diffusers' files
NAMED_IN = ("ss_output_name", "modelspec.title")
MOST_NOTE = 2**20
PIECE = 1 << 20


@dataclass(frozen=True)
class Change:
    """What is added to one tensor: scale * up @ down, or scale * `up` itself where there is no `down`."""

    up: Stored
    down: Stored | None
    scale: float

    @property
    def rank(self) -> int:
        return self.down.shape[0] if self.down else 0

    @property
    def nbytes(self) -> int:
        return self.up.nbytes + (self.down.nbytes if self.down else 0)

    def factors(self, device: torch.device, scratch: Tensor) -> tuple[Tensor, Tensor]:
        """Rows by rank and rank by columns, in float32; a convolution's columns are all that one output sees."""
        assert self.down is not None
        return read(self.up, device, scratch).flatten(1), read(self.down, device, scratch).flatten(1)

    def add_to(self, numbers: Tensor, strength: float, scratch: Tensor) -> None:
        """To a whole tensor in float32."""
        if self.down is None:
            whole = read(self.up, numbers.device, scratch)
            numbers.add_(whole.view_as(numbers), alpha=strength * self.scale)
        else:
            up, down = self.factors(numbers.device, scratch)
            numbers.view(len(numbers), -1).addmm_(up, down, alpha=strength * self.scale)


def read(stored: Stored, device: torch.device, scratch: Tensor) -> Tensor:
    out = torch.empty(stored.shape, device=device)
    stored.read_into(out, scratch)
    return out


@dataclass(frozen=True)
class Lora:
    """The part of a file that is for one expert, or for either."""

    path: Path
    expert: Expert | None  # the one it seems made for
    changes: Mapping[str, Change]  # by official names
    unfit: Mapping[str, str]  # keys that change nothing here -> why

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
        return digest.hexdigest()

    @property
    def told(self) -> str:
        """What it is, in a line."""
        ranks = sorted({change.rank for change in self.changes.values()} - {0})
        whole = sum(not change.rank for change in self.changes.values())
        kinds = [f"a LoRA of rank {' to '.join(map(str, dict.fromkeys((ranks[0], ranks[-1]))))}"] if ranks else []
        kinds += [f"{whole} whole differences"] if whole else []
        made = f", made for the {self.expert}-noise expert" if self.expert else ""
        return f"{self.path}: {' and '.join(kinds)}, changes {len(self.changes)} tensors{made}{self._left_out}"

    @property
    def _left_out(self) -> str:
        if not self.unfit:
            return ""
        return f"; {len(self.unfit)} keys left out ({reasons(self.unfit)})"


def reasons(unfit: Mapping[str, str]) -> str:
    """Each once, with a key that it holds for."""
    first: dict[str, str] = {}
    for key, why in unfit.items():
        first.setdefault(why, key)
    return some([f"{key}: {why}" for why, key in first.items()])


def open_lora(path: Path | str, shapes: Mapping[str, Shape]) -> list[Lora]:
    """For a model of these tensors: one, or two where a file has changes of both experts. Refused where no key fits."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name the LoRA file in it")
    stored = open_tensors(path)
    notes = read_metadata(path)
    said = [key for key in stored if key.startswith(SECOND)]
    first = {key: tensor for key, tensor in stored.items() if not key.startswith(SECOND)}
    second = {key: stored[key] for key in said}
    both = bool(first and second)
    scales = PeftScales.of(path, notes)
    found: list[Lora] = []
    for tensors, own in ((first, "high" if both else _made_for(path, notes)), (second, "low")):
        if tensors:
            changes, unfit = _changes(tensors, shapes, scales)
            found.append(Lora(path, own, changes, unfit))  # type: ignore[arg-type]
    if not any(lora.changes for lora in found):
        why = reasons({key: why for lora in found for key, why in lora.unfit.items()}) or "it is empty"
        raise ValueError(f"{path} fits this model nowhere, {len(stored)} keys ({why}); name a LoRA made for it")
    return [lora for lora in found if lora.changes]


def _made_for(path: Path, notes: Mapping[str, str]) -> str | None:
    """By its name, else by the name that its trainer knew."""
    named = [Path(notes[note]).with_suffix("") for note in NAMED_IN if 0 < len(notes.get(note, "")) < 256]
    return next(filter(None, map(noise_of, [path, *named])), None)


@dataclass(frozen=True)
class PeftScales:
    """What PEFT writes beside factors: without an alpha of their own, alpha/rank, or alpha/sqrt(rank) of rs-LoRA."""

    alpha: float | None = None
    patterns: Mapping[str, float] | None = None  # alphas of modules, by the end of their names
    root: bool = False
    dora: bool = False

    @classmethod
    def of(cls, path: Path, notes: Mapping[str, str]) -> PeftScales:
        beside = path.with_name("adapter_config.json")
        try:
            if path.name.startswith("adapter_model") and beside.is_file():
                said = read_json(beside)
            else:
                said = json.loads(notes.get(PEFT_NOTE, "{}"))
        except (ValueError, RecursionError):
            return cls()
        own = {key.rpartition(".")[2]: value for key, value in said.items()} if isinstance(said, dict) else {}
        alpha, patterns = own.get("lora_alpha"), own.get("alpha_pattern")
        patterns = {k: v for k, v in patterns.items() if _number(v)} if isinstance(patterns, dict) else {}
        root, dora = own.get("use_rslora") is True, own.get("use_dora") is True
        return cls(alpha if _number(alpha) else None, patterns, root, dora)

    def scale(self, module: str, rank: int, alpha: float | None) -> float:
        if alpha is None:
            ends = [a for end, a in (self.patterns or {}).items() if f".{module}".endswith(f".{end}")]
            alpha = ends[0] if ends else self.alpha
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.root else rank)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def plain_name(module: str) -> str:
    """A module's official name, whatever stands in front of it and however it is spelt."""
    while match := PREFIX.match(module):
        module = module[match.end() :]
    if match := FLAT.match(module):
        flat = module[match.end() :]
        block = re.match(r"blocks_(\d+)(?:_|$)", flat)
        rest = flat[block.end() :] if block else flat
        module = ".".join(filter(None, (f"blocks.{block[1]}" if block else "", DOTTED.get(rest, rest))))
    return renamed(f"{module}.weight", DIFFUSERS_EXPERT).removesuffix(".weight")


def _changes(
    stored: Mapping[str, Stored], shapes: Mapping[str, Shape], scales: PeftScales
) -> tuple[dict[str, Change], dict[str, str]]:
    modules, unfit = _by_module(stored)
    changes: dict[str, Change] = {}
    for (module, kind), keys in modules.items():
        plain = plain_name(module)
        target = _target(plain, kind)
        tensors = {part: stored[key] for part, key in keys.items()}
        why = _fault(tensors, kind, target, shapes, scales)
        if why is None and target in changes:
            why = "changed by another of its keys already"
        if why is not None:
            unfit |= dict.fromkeys(keys.values(), why)
            continue
        alpha = _alpha(tensors.pop("alpha", None))
        up, down = tensors["up"], tensors.get("down")
        changes[target] = Change(up, down, scales.scale(module, down.shape[0], alpha) if down else 1.0)
    return changes, unfit


def _by_module(stored: Mapping[str, Stored]) -> tuple[dict[tuple[str, str], dict[str, str]], dict[str, str]]:
    """(module, "factors" or which difference) -> its parts by what they are -> their keys; and what is none of these."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    unfit: dict[str, str] = {}
    for key in stored:
        factor, other, dora = FACTOR.fullmatch(key), OTHER.fullmatch(key), DORA.fullmatch(key)
        if factor and not _strange(key):
            found.setdefault((factor[1], "factors"), {})["down" if factor[2] in DOWN else "up"] = key
        elif dora:
            found.setdefault((dora[1], "factors"), {})["dora"] = key
        elif other and other[2] == "alpha" and not _strange(key):
            found.setdefault((other[1], "factors"), {})["alpha"] = key
        elif other and not _strange(key):
            found.setdefault((other[1], other[2]), {})["up"] = key
        else:
            unfit[key] = _strange(key) or "of a kind that is not read here"
    return found, unfit


def _strange(key: str) -> str | None:
    return next((why for sign, why in STRANGERS if sign.search(key)), None)


def _target(plain: str, kind: str) -> str:
    if kind == "diff_m":
        return f"{plain.removesuffix('.modulation')}.modulation"
    if plain.endswith(("modulation", "scale_shift_table")):
        return renamed(plain, DIFFUSERS_EXPERT)
    return f"{plain}.{'bias' if kind == 'diff_b' else 'weight'}"


def _fault(
    parts: Mapping[str, Stored], kind: str, target: str, shapes: Mapping[str, Shape], scales: PeftScales
) -> str | None:
    """Why it cannot change that tensor."""
    if "dora" in parts or scales.dora and kind == "factors":
        return "DoRA, which is not read here"
    if target not in shapes:
        return f"the model has no {target}" if kind != "factors" else "the model has no such layer"
    if "up" not in parts or kind == "factors" and "down" not in parts:
        return "one of its two factors is missing"
    if any(not part.dtype.is_floating_point for part in parts.values()):
        return "no floating point numbers"
    wanted, up, down = shapes[target], parts["up"].shape, parts["down"].shape if "down" in parts else None
    if down is None:
        return None if math.prod(up) == math.prod(wanted) else f"is {up} where the model has {wanted}"
    product = (up[0], math.prod(down[1:])) if up and down else ()
    joined = len(up) > 1 and len(down) > 1 and 0 < math.prod(up[1:]) == down[0]
    if not joined or len(wanted) < 2 or product != (wanted[0], math.prod(wanted[1:])):
        return f"its factors are {up} and {down} where the model has {wanted}"
    if "alpha" in parts and math.prod(parts["alpha"].shape) != 1:
        return "its alpha is more than one number"
    return None


def _alpha(stored: Stored | None) -> float | None:
    if stored is None:
        return None
    return read(stored, torch.device("cpu"), torch.empty(64, dtype=torch.uint8)).item()
