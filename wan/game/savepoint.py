"""Save points: a world between two blocks as one safetensors file, to be continued exactly.

Everything that the next block depends on is in it (caches, decoder state, condition, visible actions, random state)
and nothing that grows with the world's age. The weights are not; a fingerprint of them is, because other weights
would go on with a wrong past.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wan.game.conditions import ImageCondition
from wan.game.models import GameModels
from wan.game.rollout import Sampling, SeededNoise, World
from wan.modules.causal_model import CausalWanModel

FORMAT = "matrix-game world 1"
SIGNS = "signs "  # what fingerprints begin with; older ones are a bare hash


def save_world(path: str | Path, world: World, note: dict[str, Any] | None = None) -> None:
    """Finishes the current block first. `note` comes back from `load_world` (seeds, actions: what the world is)."""
    assert isinstance(world.noise, SeededNoise), "recorded noise has no state to save"
    world.commit()
    tensors = {
        **_named("cache", world.lease.cache.tensors()),
        **_named("decoder", world.decoder_state.tensors()),
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
    part = Path(path).with_name(f".{Path(path).name}.part")
    try:
        save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, part, meta)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_world(path: str | Path, models: GameModels) -> tuple[World, dict[str, Any]]:
    """The world as it was, and the note saved with it."""
    meta, tensors = _read(Path(path))
    _check_models(path, meta, models)
    values = json.loads(meta["sampling"])
    sampling = Sampling(**{**values, "denoising_step_list": tuple(values["denoising_step_list"])})
    device = models.causal.device
    condition = ImageCondition(tensors["condition/visual_context"].to(device), tensors["condition/concat"].to(device))
    noise = SeededNoise([0] * len(condition.concat))
    noise.load_state(tensors["noise"])
    world = World(models.mode, models.engine, models.decoder, condition, noise, sampling)
    world.lease.cache.load_tensors(_under("cache", tensors))
    decoding = next(models.vae.parameters()).dtype
    world.decoder_state.load_tensors({name: t.to(device, decoding) for name, t in _under("decoder", tensors).items()})
    world.keyboard, world.mouse = tensors["actions/keyboard"], tensors["actions/mouse"]
    world.block = int(meta["block"])
    return world, json.loads(meta["note"])


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
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    try:
        with safe_open(path, "pt") as file:
            meta, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
    except SafetensorError as error:
        raise ValueError(f"{path} is not a save point, or a damaged one ({error})") from None
    if meta.get("format") != FORMAT:
        raise ValueError(f"{path} is not a save point: give a file that --save_state wrote")
    return meta, tensors


def _check_models(path: str | Path, meta: dict[str, str], models: GameModels) -> None:
    if meta["mode"] != models.mode.name:
        raise ValueError(f"{path} is a world of mode {meta['mode']}, these weights play {models.mode.name}")
    if meta["weights"] in {fingerprint(models.causal), *_older_fingerprints(models.causal)}:
        return
    if meta["weights"].startswith(SIGNS):
        raise ValueError(f"{path} was made with other weights: give the checkpoint it was made with")
    raise ValueError(
        f"{path} is of an older version and was made with other weights, or with these in another dtype: give the "
        "checkpoint and the --dtype it was made with"
    )


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
