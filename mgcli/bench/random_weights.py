"""Random weights that depend on a parameter's name and shape only: any class, dtype or peer with the same names computes the
same function, without a file.

Time does not depend on the values of weights; correctness can be compared on any. Imports torch only: other people's models are filled too.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def random_model(make: Callable[[], Module], device: torch.device, dtype: torch.dtype, seed: int = 0) -> Module:
    """Made where it runs, without the time its own initialisation takes."""
    with torch.device("meta"):
        model = make()
    return fill(model.to(dtype).to_empty(device=device), seed)


def fill(model: Module, seed: int = 0) -> Module:
    """Overwrite every parameter; ready for inference."""
    for name, tensor in model.state_dict().items():  # by its official name, also where it is a part of a larger one
        tensor.copy_(values(name, tensor, seed))
    return model.eval().requires_grad_(False)


def values(name: str, like: Tensor, seed: int) -> Tensor:
    """Of a size that keeps activations finite through any depth; rounded to bfloat16, so that every dtype has the same."""
    generator = torch.Generator(like.device).manual_seed(zlib.crc32(name.encode()) + seed)
    drawn = torch.randn(like.shape, generator=generator, device=like.device, dtype=torch.bfloat16)
    if is_norm(name, like):
        return drawn.mul_(0.1).add_(1)
    return drawn.mul_(0.1 if like.dim() == 1 else 1 / math.sqrt(math.prod(like.shape[1:])))


def is_norm(name: str, parameter: Tensor) -> bool:
    return name.endswith("gamma") or parameter.dim() == 1 and name.endswith("weight")
