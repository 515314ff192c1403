"""Random numbers as a pure function of (seed, stream, index): the same on every device and for every batch size.

A map or a scene is named by one integer, so held-out data is a range of integers and a picture can be drawn again
years later. torch.Generator cannot promise that: its values change with device and with what was drawn before.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


def _mix(x: Tensor) -> Tensor:
    """A 32-bit avalanche in int64 arithmetic (products stay below 2**63)."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def uniform(seeds: Tensor, stream: int, *shape: int) -> Tensor:
    """float32 in [0, 1) of shape (*seeds.shape, *shape); `stream` keeps the uses of one seed independent."""
    key = _mix((_mix(seeds.long() & _MASK) + stream * 0x9E3779B9) & _MASK)
    index = torch.arange(math.prod(shape), device=seeds.device)
    bits = _mix((key[..., None] + index * 0x85EBCA6B) & _MASK) >> 8  # 24 bits: exact in float32
    return (bits.float() / 2**24).reshape(*seeds.shape, *shape)


def integers(seeds: Tensor, stream: int, high: int, *shape: int) -> Tensor:
    """int64 in [0, high)."""
    return (uniform(seeds, stream, *shape) * high).long()
