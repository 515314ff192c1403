"""Save points: a world between two blocks as one safetensors file, to be continued exactly.

Everything that the next block depends on is in it (caches, decoder state, condition, visible actions, random state)
and nothing that grows with the world's age. The weights are not; a fingerprint of them is, because other weights
would go on with a wrong past.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wan.files.saving import save_tensors
from wan.files.text import parse_json
from wan.game import saved_tensors
from wan.game.conditions import ImageCondition
from wan.game.models import GameModels
from wan.game.rollout import SeededNoise, World
from wan.game.sampling import Sampling
from wan.game.saved_tensors import named, under
from wan.modules.causal_model import CausalWanModel
from wan.schema import read, within

FORMAT = "matrix-game world 1"
SIGNS = "signs "  # what fingerprints begin with; older ones are a bare hash
MOST_BLOCKS = 10**9  # four hundred years of playing


@dataclass(frozen=True)
class WorldHead:
    """What a save point says of itself beside its tensors."""

    mode: str
    block: int
    sampling: Sampling
    weights: str
    note: dict


def save_world(path: str | Path, world: World, note: dict[str, Any] | None = None) -> None:
    """Finishes the current block first. `note` comes back from `load_world` (seeds, actions: what the world is)."""
    assert isinstance(world.noise, SeededNoise), "recorded noise has no state to save"
    world.commit()
    tensors = {
        **named("cache", world.lease.cache.tensors()),
        **named("decoder", world.decoder_state.tensors()),
        "condition/visual_context": world.condition.visual_context,
        "condition/concat": world.condition.concat,
        "actions/keyboard": world.keyboard,
        "actions/mouse": world.mouse,
        "noise": world.noise.state(),
    }
    meta = {
        "format": FORMAT,
        "mode": world.mode.name,
        "block": str(world.block),
        "sampling": json.dumps(dataclasses.asdict(world.sampling)),
        "weights": fingerprint(world.model),
        "note": json.dumps(note or {}),
    }
    save_tensors(Path(path), {name: tensor.clone() for name, tensor in tensors.items()}, meta)


def load_world(path: str | Path, models: GameModels) -> tuple[World, dict[str, Any]]:
    """The world as it was, and the note saved with it."""
    path = Path(path)
    meta, tensors = _read(path)
    try:
        head = _head(meta)
    except ValueError as error:
        raise _damaged(path, error) from error
    _check_models(path, head, models)
    try:
        saved_tensors.check(tensors, models, head.sampling, head.block)
    except ValueError as error:
        raise _damaged(path, error) from error
    return _restored(head, tensors, models), head.note


def _restored(head: WorldHead, tensors: dict[str, Tensor], models: GameModels) -> World:
    device = models.causal.device
    condition = ImageCondition(tensors["condition/visual_context"].to(device), tensors["condition/concat"].to(device))
    noise = SeededNoise([0] * len(condition.concat))
    noise.load_state(tensors["noise"])
    world = World(models.mode, models.engine, models.decoder, condition, noise, head.sampling)
    world.lease.cache.load_tensors(under("cache", tensors))
    decoding = next(models.vae.parameters()).dtype
    world.decoder_state.load_tensors({name: t.to(device, decoding) for name, t in under("decoder", tensors).items()})
    world.keyboard, world.mouse = tensors["actions/keyboard"], tensors["actions/mouse"]
    world.block = head.block
    return world


def fingerprint(model: CausalWanModel) -> str:
    """Of the signs of the last layer's weights: rounding changes none, so every dtype has the same, and every training others."""
    return SIGNS + _hash(model.head.head.weight.detach().signbit())


def _older_fingerprints(model: CausalWanModel) -> set[str]:
    """Of the values, in the dtype that the weights had: of this run, or of one whose rounding this run can repeat."""
    weight = model.head.head.weight.detach()
    return {_hash(weight.to(dtype).float()) for dtype in (weight.dtype, torch.bfloat16, torch.float16)}


def _hash(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.cpu().numpy().tobytes()).hexdigest()[:16]


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    if not path.is_file():
        raise ValueError(f"{path} is no file: name the one that a world was saved in")
    try:
        with safe_open(path, "pt") as file:
            meta, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
    except SafetensorError as error:
        raise ValueError(f"{path} is not a save point, or a damaged one ({error})") from None
    if meta.get("format") != FORMAT:
        raise ValueError(f"{path} is not a save point: give a file that --save_state wrote")
    return meta, tensors


def _head(meta: dict[str, str]) -> WorldHead:
    given = {name: parse_json(meta[name], name) for name in ("block", "sampling", "note") if name in meta}
    head = read(WorldHead, given | {name: meta[name] for name in ("mode", "weights") if name in meta})
    within("block", head.block, 0, MOST_BLOCKS, 0)
    return head


def _damaged(path: Path, error: ValueError) -> ValueError:
    return ValueError(f"{path} is a damaged save point, or one of other models ({error}): give another one")


def _check_models(path: Path, head: WorldHead, models: GameModels) -> None:
    if head.mode != models.mode.name:
        raise ValueError(f"{path} is a world of mode {head.mode}, these weights play {models.mode.name}")
    if head.weights in {fingerprint(models.causal), *_older_fingerprints(models.causal)}:
        return
    if head.weights.startswith(SIGNS):
        raise ValueError(f"{path} was made with other weights: give the checkpoint it was made with")
    raise ValueError(
        f"{path} is of an older version and was made with other weights, or with these in another dtype: give the "
        "checkpoint and the --dtype it was made with"
    )
