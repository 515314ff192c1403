"""Packed weights to numbers on their way into a product: one pass on a GPU, where torch takes a dozen (wan.files.packed).

The kernel reads the same tables as the plain twin and computes in the same order without fused multiply-adds, so that both
give the same bits, and a model whose weights stay packed gives the same video as one that was unpacked while loading.
"""

from __future__ import annotations

from torch import Tensor

from wan.fast.kernels import use_triton
from wan.files.packed import Format
from wan.files.packed import unpack as plain


def unpack(packed: Tensor, format: Format, out: Tensor) -> None:
    """Whole blocks of uint8 into `out`, contiguous, of any float dtype and as many elements."""
    if use_triton(packed):
        from wan.fast.kernels.triton_packed import unpack as fused

        fused(packed, format, out)
    else:
        plain(packed, format, out)
