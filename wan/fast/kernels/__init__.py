"""Fused elementwise kernels: each file holds the plain-torch twin and who calls which; triton_*.py hold the GPU code.

Triton is imported only when a CUDA tensor asks for it. The twin is the definition: the kernel computes the same
numbers in float32 with one rounding at the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def use_triton(x: Tensor) -> bool:
    return x.is_cuda


def launch(kernel: Any, grid: tuple[int, ...], x: Tensor, *rest: Any, **constants: Any) -> None:
    """Run a kernel where its first tensor is; Triton launches on the current device, which may be another one."""
    with torch.cuda.device_of(x):
        kernel[grid](x, *rest, **constants)
