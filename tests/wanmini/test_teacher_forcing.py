"""Teacher forcing sees exactly what a rollout sees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wan.config import ActionConfig, CausalConfig
from wan.modules.causal_model import CausalWanModel
from wan.schedule import few_step
from wanmini.own_rollout import OwnRollout, own_latents
from wanmini.teacher_forcing import Given, flow_behind, past_of, teacher_forced

ACTION = ActionConfig(blocks=(0,), heads_num=1, hidden_size=8, img_hidden_size=48, keyboard_hidden_dim=64, mouse_hidden_dim=64)  # fmt: skip
CONFIG = CausalConfig(dim=48, ffn_dim=64, freq_dim=32, num_heads=2, num_layers=2, visual_dim=24, action_config=ACTION)
BLOCKS, SIZE = 4, (4, 6)


@pytest.fixture(scope="module")
def model() -> CausalWanModel:
    torch.manual_seed(0)
    return CausalWanModel(CONFIG)


def _given() -> Given:
    frames = 3 * BLOCKS
    actions = 1 + 4 * (frames - 1)
    return Given(
        torch.randn(2, 5, 24), torch.randn(2, 20, frames, *SIZE), torch.randn(2, actions, 2), torch.randn(2, actions, 4)
    )


def _rolled(model: CausalWanModel, past: Tensor, noisy: Tensor, times: list[float], given: Given) -> Tensor:
    rollout, out = OwnRollout(model, given), []
    for block, (clean, x, t) in enumerate(zip(past.split(3, 2), noisy.split(3, 2), times)):
        out.append(rollout.flow(block, x, t))
        rollout.flow(block, clean, 0.0)
    return torch.cat(out, 2)


@torch.no_grad()
def test_equal_to_a_rollout_with_caches(model: CausalWanModel) -> None:
    past, noisy = torch.randn(2, 2, 16, 3 * BLOCKS, *SIZE)
    times = [1000.0, 300.0, 625.0, 40.0]
    given, t = _given(), torch.tensor(times).repeat_interleave(3).expand(2, -1)
    # the same sums in another order: float32 rounding
    assert torch.allclose(
        teacher_forced(model, past, noisy, t, given), _rolled(model, past, noisy, times, given), atol=2e-5
    )


@torch.no_grad()
def test_a_past_passed_once_serves_many_times(model: CausalWanModel) -> None:
    past, given = torch.randn(2, 16, 3 * BLOCKS, *SIZE), _given()
    kept = past_of(model, past, given)
    for t in (1000.0, 625.0):
        noisy, times = torch.randn_like(past), torch.full((2, 3 * BLOCKS), t)
        want = teacher_forced(model, past, noisy, times, given)
        assert torch.equal(flow_behind(model, kept, noisy, times, given), want)


def test_the_past_is_trained_too(model: CausalWanModel) -> None:
    past = torch.randn(2, 16, 3 * BLOCKS, *SIZE, requires_grad=True)
    flow = teacher_forced(model, past, torch.randn_like(past), torch.full((2, 3 * BLOCKS), 500.0), _given())
    flow[:, :, -3:].pow(2).mean().backward()
    reach = past.grad.abs().amax((0, 1, 3, 4))
    assert (reach[-3:] == 0).all() and (reach[-6:-3] > 0).all()


def test_own_latents_begin_where_they_are_told(model: CausalWanModel) -> None:
    truth = torch.randn(2, 16, 3 * BLOCKS, *SIZE)
    schedule = few_step((1000, 500, 1), 5.0, warp=False)
    near = own_latents(model, truth, _given(), schedule, first=2)
    far = own_latents(model, truth, _given(), schedule)
    assert (near - truth).abs().mean() < 0.02  # one thousandth of noise
    assert (far - truth).abs().mean() > 0.5
