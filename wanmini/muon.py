"""Muon, the optimizer of the layers' matrices: momentum, made orthogonal before it is applied.

Every direction of a matrix is then learned at the same pace, however weak its gradient. Orthogonal means that all
singular values are 1; the nearest such matrix needs no decomposition, only products, which is what GPUs are for.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

LEAST = 0.004  # of a matrix's norm: what is weaker is lifted as steeply, but does not arrive
TOP = 0.99  # 1, less what bfloat16 may round up: beyond 1 the polynomials fall
STEPS = 7


def lifts(low: float, steps: int) -> Iterator[tuple[float, float]]:
    """(a, b) of the cubics s -> s (a - b s^2) that, one after the other, lift singular values from [low, 1] to TOP.

    Such a cubic rises from 0 to one peak and falls again. Of those whose peak is TOP, the one that leaves nothing of
    [low, 1] far below leaves both ends at one height, because shifting the peak raises one end and lowers the other:
    low (a - b low^2) = a - b, so a = b (1 + low + low^2). The peak is at p = sqrt(a / 3b), where the cubic is 2b p^3.
    The height of the ends, a - b, is where the next interval begins.
    """
    for _ in range(steps):
        square = (1 + low + low * low) / 3  # of p
        b = TOP / (2 * square**1.5)
        a = 3 * b * square
        yield a, b
        low = a - b


def orthogonal(x: Tensor) -> Tensor:
    """(k, m, n) -> k matrices with the same singular vectors, and with singular values of 0.95 to 0.99."""
    norm = torch.linalg.matrix_norm(x.float(), keepdim=True).clamp(min=1e-12)  # no singular value is larger
    y = (x * (TOP / norm)).to(x.dtype)
    tall = x.shape[1] > x.shape[2]
    for a, b in lifts(LEAST, STEPS):
        left, right = (y, y.mT @ y) if tall else (y @ y.mT, y)  # y y^T y by way of the smaller square
        y = torch.baddbmm(y, left, right, beta=a, alpha=-b)
    return y


class Muon:
    """Matrices of one shape are worked on together, in half precision on a GPU.

    The entries of an orthogonal m x n matrix are 1 / sqrt(max(m, n)) in the root mean square. A step scales them to
    PACE, which is about what AdamW's are, so that one learning rate does for both.
    """

    MOMENTUM, WEIGHT_DECAY, PACE = 0.95, 0.01, 0.2

    def __init__(self, matrices: list[Tensor], rate: Tensor):
        self.rate = rate
        shapes: dict[torch.Size, list[Tensor]] = {}
        for matrix in matrices:
            shapes.setdefault(matrix.shape, []).append(matrix)
        self.groups = [(group, torch.zeros(len(group), *shape, device=rate.device)) for shape, group in shapes.items()]

    @torch.no_grad()
    def step(self) -> None:
        for group, velocity in self.groups:
            gradient = torch.stack([torch.zeros_like(m) if m.grad is None else m.grad for m in group])
            velocity.mul_(self.MOMENTUM).add_(gradient)
            ahead = gradient.add_(velocity, alpha=self.MOMENTUM)  # where the velocity is about to lead
            direction = orthogonal(ahead.bfloat16() if ahead.is_cuda else ahead).float()
            length = self.rate * (self.PACE * max(direction.shape[1:]) ** 0.5)
            torch._foreach_mul_(group, 1 - self.rate * self.WEIGHT_DECAY)
            torch._foreach_sub_(group, (direction * length).unbind())
