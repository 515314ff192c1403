"""What a world keeps of its past, counted before it is there: keys and values to the byte. Pictures and weights come on top, so
what has no room for this has none for the world."""

from __future__ import annotations

import torch

from wan.config import CausalConfig
from wan.latents import SPATIAL_STRIDE
from wan.modules.cache import RolloutCache


def kept_bytes(config: CausalConfig, worlds: int, height: int, width: int, block: int, dtype: torch.dtype) -> int:
    _, down, across = (side * SPATIAL_STRIDE for side in config.patch_size)
    tokens = (height // down) * (width // across)
    return sum(kept.nbytes for kept in RolloutCache(config, worlds, tokens, block, "meta", dtype).tensors().values())
