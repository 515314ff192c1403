"""What a kernel and its plain twin share: names for tensors that travel together, and constants both compute with.

They have a file of their own because the twin imports the kernel, and files import each other one way only.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

TAPS = 3  # frames under a causal kernel of the VAE: this one and two before it
UNIT_EPS = 1e-6  # of the action module's norms, which have no weight
LARGEST_E4M3 = 448.0  # the largest number that e4m3 has
LEAST_PEAK = 1e-12  # a row of zeros has no scale of its own

Modulation = tuple[Tensor, Tensor]  # shift and scale, (B, F, C) each: one row a frame (or one in all)
Norms = tuple[Tensor, Tensor]  # weights of q and k norm, (C,)
Place = tuple[Tensor, Tensor | None]  # where keys and values go
KeysValues = tuple[Tensor, Tensor]


class Sum(NamedTuple):
    """x + y + bias, not added yet: whoever reads it next adds on the way."""

    x: Tensor  # (B, T, H, W, C)
    y: Tensor | None = None
    bias: Tensor | None = None  # (C,)
