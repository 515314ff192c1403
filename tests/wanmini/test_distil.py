"""A student is shown where its teacher's walks lead: from each of its steps, to the end, for every block once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wan.schedule import few_step
from wanmini import distil, sizes
from wanmini.distil import Walker, lessons
from wanmini.teacher_forcing import EAGER, Given

STEPS = (1000, 750, 500, 250)
SIGMAS = few_step(STEPS, sizes.SHIFT).sigmas


def test_walks_follow_the_flow_from_noise_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    target = torch.full((2, 16, 6, 2, 3), 3.0)
    asked: list[float] = []

    def flow(teacher: object, kept: object, x: Tensor, t: Tensor, *rest: object) -> Tensor:
        asked.append(t[0, 0].item())
        return (x - target) / (t[0, 0] / 1000)

    class Teacher:
        dtype = torch.float32

    monkeypatch.setattr(distil, "past_of", lambda *args: [])
    monkeypatch.setattr(distil, "flow_behind", flow)
    walker = Walker(STEPS, 3, EAGER)
    begun, end = walker.walk(Teacher(), torch.zeros_like(target), Given(*[torch.zeros(1)] * 4))  # type: ignore[arg-type]
    assert len(asked) == 12 and asked[0] == 1000 and asked == sorted(asked, reverse=True)
    assert asked[::3] == pytest.approx([1000 * s for s in SIGMAS], abs=1.0)
    assert torch.allclose(end, target, atol=0.01)  # the steps' sigmas are rounded to entries of a table
    for x, sigma in zip(begun, SIGMAS, strict=True):
        assert torch.allclose(x, (1 - sigma) * target + sigma * begun[0], atol=0.01)


def test_every_block_learns_every_step_once() -> None:
    end, begun = torch.randn(2, 16, 12, 2, 3), torch.randn(4, 2, 16, 12, 2, 3)
    made = lessons(begun, end, SIGMAS)
    sigmas = torch.stack([sigma for _, _, sigma in made])
    assert torch.allclose(sigmas.sort(0, descending=True).values[:, 0, 0], torch.tensor(SIGMAS))
    assert (sigmas.unflatten(2, (-1, 3)).diff(dim=-1) == 0).all()  # a block has one noise level
    for noisy, flow, sigma in made:
        assert torch.allclose(noisy - sigma[:, None, :, None, None] * flow, end, atol=1e-5)
        step = SIGMAS.index(pytest.approx(sigma[1, 5].item()))
        assert torch.equal(noisy[1, :, 5], begun[step, 1, :, 5])
