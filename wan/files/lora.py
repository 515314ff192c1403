"""LoRA files: small trained changes of an expert, in every spelling that trainers and programs write, by official names.

A change is `scale * up @ down` of two narrow matrices, or a whole difference of a weight, a bias or a modulation. Nothing but
headers, notes and alphas is read here; what does not belong to this model is kept with the reason. How changes get into a model
is wan.files.merged's business.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from wan.files.lora_keys import by_module, plain_name, target_of
from wan.files.readers import open_tensors, read_metadata, some
from wan.files.single_files import noise_of
from wan.files.stored import Stored
from wan.files.text import read_json

Expert = Literal["high", "low"]
Shape = tuple[int, ...]

SECOND = "transformer_2."  # diffusers' low-noise expert, which may share a file with the other
LONGEST = 100  # letters of a key in a message
PEFT_NOTE = "lora_adapter_metadata"  # JSON, in diffusers' files
NAMED_IN = ("ss_output_name", "modelspec.title")
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
    return some([f"{key[:LONGEST]}: {why[:LONGEST]}" for why, key in first.items()])


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
    found: list[Lora] = []
    for tensors, own in ((first, "high" if both else _made_for(path, notes)), (second, "low")):
        if tensors:
            changes, unfit = _changes(tensors, shapes, PeftScales.of(path, notes, tensors is second))
            found.append(Lora(path, own, changes, unfit))  # type: ignore[arg-type]
    if not any(lora.changes for lora in found):
        why = reasons({key: why for lora in found for key, why in lora.unfit.items()}) or "it is empty"
        raise ValueError(f"{path} fits this model nowhere, {len(stored)} keys ({why}); name a LoRA made for it")
    return [lora for lora in found if lora.changes]


def _made_for(path: Path, notes: Mapping[str, str]) -> str | None:
    """By its name, else by the name that its trainer knew."""
    named = [Path(notes[note]) for note in NAMED_IN if 0 < len(notes.get(note, "")) < 256]
    return next(filter(None, map(noise_of, [path, *named])), None)


@dataclass(frozen=True)
class PeftScales:
    """What PEFT writes beside factors: without an alpha of their own, alpha/rank, or alpha/sqrt(rank) of rs-LoRA."""

    alpha: float | None = None
    patterns: Mapping[str, float] | None = None  # alphas of modules, by the end of their names
    root: bool = False
    dora: bool = False

    @classmethod
    def of(cls, path: Path, notes: Mapping[str, str], second: bool) -> PeftScales:
        beside = path.with_name("adapter_config.json")
        try:
            if path.name.startswith("adapter_model") and beside.is_file():
                said = read_json(beside)
            else:
                said = json.loads(notes.get(PEFT_NOTE, "{}"))
        except (ValueError, RecursionError):
            return cls()
        said = said if isinstance(said, dict) else {}
        own = {key.rpartition(".")[2]: value for key, value in said.items() if key.startswith(SECOND) == second}
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


def _changes(
    stored: Mapping[str, Stored], shapes: Mapping[str, Shape], scales: PeftScales
) -> tuple[dict[str, Change], dict[str, str]]:
    modules, unfit = by_module(stored)
    changes: dict[str, Change] = {}
    for (module, kind), keys in modules.items():
        plain = plain_name(module)
        target = target_of(plain, kind)
        tensors = {part: stored[key] for part, key in keys.items()}
        why = _fault(tensors, kind, target, shapes, scales)
        if why is None and target in changes:
            why = "changed by another of its keys already"
        if why is not None:
            unfit |= dict.fromkeys(keys.values(), why)
            continue
        up, down = tensors["up"], tensors.get("down")
        scale = scales.scale(module, down.shape[0], _alpha(tensors.get("alpha"))) if down else 1.0
        if math.isfinite(scale):
            changes[target] = Change(up, down, scale)
        else:
            unfit |= dict.fromkeys(keys.values(), "its alpha is no finite number")
    return changes, unfit


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
