"""What must be in a save point for these models to go on with it: every tensor, its shape and its kind, and that it is finite.

A world that goes on with less breaks in the middle of a forward, or plays on in black. So the whole file is checked before
anything of it is used, and nothing is made that is larger than what the file itself holds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wan.game.models import GameModels
from wan.game.rollout import LATENT_CHANNELS
from wan.game.sampling import Sampling
from wan.image import MASK_CHANNELS
from wan.latents import video_frames
from wan.modules.action import tail_frames
from wan.modules.cache import RolloutCache

Tensors = dict[str, Tensor]
CONDITION = {"condition/visual_context": 3, "condition/concat": 5}  # and their dimensions


def named(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}


def check(tensors: Tensors, models: GameModels, sampling: Sampling, block: int) -> None:
    """ValueError with the first thing that is wrong."""
    for name, dims in CONDITION.items():
        if name not in tensors or tensors[name].dim() != dims or not tensors[name].numel():
            raise ValueError(f"its {name} is missing or has another shape")
    _compare(tensors, _beside_the_decoder(tensors, models, sampling, block))
    latents = tensors["condition/concat"]
    _compare(under("decoder", tensors), _decoder(models, latents) if block else {}, whole=True)
    _check_finite(tensors)
    _check_positions(tensors, sampling.num_frame_per_block, block)
    _check_noise(tensors["noise"])


def _beside_the_decoder(tensors: Tensors, models: GameModels, sampling: Sampling, block: int) -> Tensors:
    """As this world would have them; without memory, so that a false file costs none."""
    batch, _, latent_frames, height, width = tensors["condition/concat"].shape
    models.check_size(height * models.vae.space_factor, width * models.vae.space_factor)
    config, per_block, tokens = (
        models.causal.config,
        sampling.num_frame_per_block,
        tensors["condition/visual_context"].shape[1],
    )
    assert config.action_config is not None
    seen = min(tail_frames(per_block, config.action_config), video_frames(block * per_block))
    _, down, across = config.patch_size
    cache = RolloutCache(config, batch, (height // down) * (width // across), per_block, "meta", torch.float32)
    meta = torch.empty((), device="meta")
    return {
        **named("cache", cache.tensors()),
        "condition/visual_context": meta.new_empty(batch, tokens, config.visual_dim),
        "condition/concat": meta.new_empty(batch, MASK_CHANNELS + LATENT_CHANNELS, latent_frames, height, width),
        "actions/keyboard": meta.new_empty(batch, seen, models.mode.keyboard_dim),
        "actions/mouse": meta.new_empty(batch, seen, 2),
        "noise": torch.stack([torch.Generator().get_state()]).to("meta").expand(batch, -1),
    }


@torch.no_grad()
def _decoder(models: GameModels, like: Tensor) -> Tensors:
    """What the decoder itself keeps after a frame of this size."""
    state = models.decoder.new_state()
    batch, _, _, height, width = like.shape
    models.decoder.decode_chunk(
        torch.zeros(batch, LATENT_CHANNELS, 1, height, width, device=models.causal.device), state
    )
    return state.tensors()


def _compare(tensors: Tensors, wanted: Tensors, whole: bool = False) -> None:
    strangers = sorted(tensors.keys() - wanted.keys()) if whole else []
    missing = sorted(wanted.keys() - tensors.keys())
    if strangers or missing:
        what = f"{missing[0]} is missing" if missing else f"{strangers[0]} is not one of this decoder's"
        raise ValueError(what)
    for name, like in wanted.items():
        given = tensors[name]
        kind = given.is_floating_point() and like.is_floating_point()  # one of another dtype is cast
        if given.shape != like.shape or not (kind or given.dtype == like.dtype):
            raise ValueError(
                f"{name} is {tuple(given.shape)} of {given.dtype}, where these models have {tuple(like.shape)} of {like.dtype}"
            )


def _check_finite(tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel() and not tensor.float().isfinite().all():
            raise ValueError(f"{name} has numbers that are not finite")


def _check_positions(tensors: Tensors, per_block: int, block: int) -> None:
    """The cache is at the block before, which is written."""
    at = int(tensors["cache/start"]), bool(tensors["cache/written"])
    if at != (max(block - 1, 0) * per_block, block > 0):
        raise ValueError(f"its cache is at latent frame {at[0]}, and the world before block {block}")


def _check_noise(states: Tensor) -> None:
    for state in states:
        try:
            torch.Generator().set_state(state)
        except RuntimeError:
            raise ValueError("noise is the state of no generator") from None
