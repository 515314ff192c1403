"""Muon: what its polynomials promise of singular values, and that it learns all directions of a matrix at one pace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wanmini.muon import LEAST, STEPS, TOP, Muon, lifts, orthogonal
from wanmini.training import Learner, Run


def test_each_polynomial_keeps_what_is_lowest_highest() -> None:
    low = LEAST
    for a, b in lifts(LEAST, STEPS):
        s = torch.linspace(low, 1, 10_001, dtype=torch.float64)
        lifted = s * (a - b * s * s)
        torch.testing.assert_close(lifted.max().item(), TOP, rtol=1e-6, atol=0)
        torch.testing.assert_close(lifted[0], lifted[-1], rtol=1e-9, atol=1e-12)
        assert lifted.min() >= lifted[0] - 1e-12 and lifted[0] > low
        low = lifted[0].item()
    assert low > 0.94


def with_values(values: Tensor, m: int, n: int) -> tuple[Tensor, Tensor]:
    """A random matrix with these singular values, and the same one with all of them 1."""
    torch.manual_seed(0)
    count = len(values)
    left, right = (torch.linalg.qr(torch.randn(size, count))[0] for size in (m, n))
    return left * values @ right.T, left @ right.T


@pytest.mark.parametrize(("m", "n"), [(16, 16), (16, 48), (48, 16)])
@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_a_matrix_becomes_the_nearest_orthogonal_one(m: int, n: int, dtype: torch.dtype, off: float) -> None:
    """From a hundredth of the largest singular value on; in half precision the weakest directions are a little blurred."""
    x, nearest = with_values(torch.logspace(-2, 0, 16), m, n)
    got = orthogonal(torch.stack([x, 1e4 * x]).to(dtype)).float()
    singular = torch.linalg.svdvals(got)
    assert ((singular > 0.94 - off) & (singular < TOP + off)).all()
    assert (got * nearest).sum((1, 2)).min() > (0.95 - off) * 16  # the directions are the same ones


def test_what_has_one_direction_or_none() -> None:
    """The largest value a norm allows is where the polynomials are steepest downwards: nothing may tip over there."""
    column, row = torch.randn(24), torch.randn(16)
    one = torch.outer(column, row).bfloat16()
    got = orthogonal(torch.stack([one, torch.zeros_like(one)])).float()
    along = (column / column.norm()) @ got[0] @ (row / row.norm())
    assert 0.9 < along < 1.02 and got[1].eq(0).all()


def test_a_step_is_the_same_in_all_directions() -> None:
    torch.manual_seed(0)
    matrix = nn.Parameter(torch.zeros(24, 16))
    matrix.grad = torch.outer(torch.randn(24), torch.randn(16)) + 0.5 * torch.randn(24, 16)
    before, gradient = torch.linalg.svdvals(matrix.grad), matrix.grad.clone()
    Muon([matrix], torch.tensor(0.1)).step()
    step = torch.linalg.svdvals(matrix.detach())
    assert before.max() > 10 * before.min() and step.max() < 1.1 * step.min()
    assert (matrix * gradient).sum() < 0  # downhill
    assert abs(matrix.detach().pow(2).mean().sqrt() / (0.1 * Muon.PACE) - 0.97) < 0.03  # as long as AdamW's


class Residual(nn.Module):
    """Named as the models are, so that the middle is Muon's and the rest AdamW's."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Linear(8, 32), nn.Linear(32, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x)
        for block in self.blocks:
            h = h + block(h)
        return self.head(h)


def test_a_tiny_model_learns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher, model = Residual().requires_grad_(False), Residual()
    learner = Learner(model, Run(tmp_path, "test", minutes=5), rate=1e-2)
    losses = []
    for _ in range(150):
        x = torch.randn(128, 8)
        loss = (model(x) - teacher(x)).pow(2).mean()
        losses.append(loss.item())
        learner.tick()
        learner.step(loss)
    assert losses[-1] < 2e-3 * losses[0]
