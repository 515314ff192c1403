"""Numbers that are not finite, said where they appear: what is made of them is black and looks like a success.

A device is asked about what it has just made and answers when it is waited for anyway.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wan.refusal import Refusal


def all_finite(*tensors: Tensor) -> Tensor:
    """True or False, on their device: nothing waits for it here."""
    return torch.stack([tensor.isfinite().all() for tensor in tensors]).all()


def require_finite(answer: Tensor, what: str) -> None:
    if not answer:
        raise Refusal(
            f"{what} came out with numbers that are not finite, which are no picture: the weights are damaged, or too large"
            " for the dtype they run in; try float32, or download them again",
            "dtype float32",
        )
