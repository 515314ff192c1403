"""Small tensors made of numbers in the code, once for each device: making one again copies from the host and waits.

Not buffers, which would stay on the meta device when a checkpoint is assigned.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """`values` as a vector of the dtype and on the device of `like`."""
    return _made(values, like.dtype, like.device)


@cache
def _made(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # also used where gradients flow
        return torch.tensor(values, dtype=dtype, device=device)
