"""Fused elementwise kernels: each file holds the plain-torch twin and who calls which; triton_*.py hold the GPU code.

Triton is imported only when a CUDA tensor asks for it. The twin is the definition: the kernel computes the same
numbers in float32 with one rounding at the end.
"""

from __future__ import annotations

from torch import Tensor


def use_triton(x: Tensor) -> bool:
    return x.is_cuda
