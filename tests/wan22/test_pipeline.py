"""The loop does what the plan says: lengths, branches, conditions, the same bytes from the same seed."""

import weakref
from dataclasses import replace

import pytest
import torch

from tests.wan.tiny_models import wan_model
from wan22.config import Request
from wan22.experts import Experts
from wan22.pipeline import VideoConditions, denoise, draw_noise, phase_by_phase
from wan22.plan import plan

REQUEST = Request(size="64*32", any_size=True, frame_num=17, sample_steps=6)
HALF = replace(REQUEST, enable_half_frame_generation=True)
FULL_SHAPE = (1, 16, 5, 4, 8)


class Spy:
    """Two tiny experts that note what they were asked."""

    def __init__(self, **changes):
        self.models = {"high": wan_model(0, **changes), "low": wan_model(1, **changes)}
        self.calls = []
        for name, model in self.models.items():
            model.register_forward_pre_hook(lambda _, args, name=name: self.calls.append((name, *args)))

    def get(self, expert):
        return self.models[expert]


def conditions(y=None) -> VideoConditions:
    generator = torch.Generator().manual_seed(7)
    return VideoConditions(torch.randn(5, 24, generator=generator), torch.randn(3, 24, generator=generator), y)


def run(request: Request, experts=None, **kwargs):
    noise = draw_noise(FULL_SHAPE[1:], seed=3, device="cpu")
    return list(
        denoise(
            plan(request),
            experts or Spy(),
            noise,
            conditions(**kwargs),
            request.sample_solver,
            request.half_frame_noise,
        )
    )


@pytest.mark.parametrize("request_", [REQUEST, replace(HALF, frame_completion="renoise", cfg_truncate_steps=2)])
def test_the_same_seed_gives_the_same_bytes(request_):
    first, second = run(request_)[-1].latents, run(request_)[-1].latents
    assert first.numpy().tobytes() == second.numpy().tobytes()


def test_flags_that_change_nothing_change_no_byte():
    off = replace(REQUEST, cfg_truncate_mode="delta", half_frame_rope="stretch", half_frame_noise="pairs")
    assert torch.equal(run(off)[-1].latents, run(REQUEST)[-1].latents)


def test_half_frames_may_start_from_other_noise():
    assert not torch.equal(run(replace(HALF, half_frame_noise="pairs"))[-1].latents, run(HALF)[-1].latents)


@pytest.mark.parametrize("method", ["repeat", "improved", "renoise"])
@pytest.mark.parametrize("solver", ["unipc", "dpm++"])
@pytest.mark.parametrize("frame_num", [17, 13])
def test_each_expert_sees_its_own_length(method, solver, frame_num):
    request = replace(HALF, frame_completion=method, sample_solver=solver, frame_num=frame_num)
    full = 1 + frame_num // 4
    experts = Spy()
    noise = draw_noise((16, full, 4, 8), seed=3, device="cpu")
    done = list(denoise(plan(request), experts, noise, conditions(), solver))
    seen = {name: {x.shape[2] for n, x, *_ in experts.calls if n == name} for name in ("high", "low")}
    assert seen == {"high": {(full + 1) // 2}, "low": {full}}
    assert done[-1].latents.shape[2] == full and done[-1].latents.isfinite().all()


def test_an_old_length_after_the_switch_would_be_caught():
    steps = list(plan(HALF))
    steps[-1] = replace(steps[-1], seq_len=steps[0].seq_len)
    with pytest.raises(AssertionError, match="step 5: 40 tokens"):
        list(denoise(steps, Spy(), draw_noise(FULL_SHAPE[1:], 3, "cpu"), conditions()))


def test_positions_reach_the_model_and_pick_the_frames_of_an_image_condition():
    experts = Spy(model_type="i2v", in_dim=36)
    y = torch.arange(5.0)[None, None, :, None, None].expand(1, 20, 5, 4, 8)
    run(replace(HALF, half_frame_rope="stretch", task="i2v-A14B"), experts, y=y)
    for name, x, _, _, part, positions in experts.calls:
        assert positions == ((0, 2, 4) if name == "high" else (0, 1, 2, 3, 4))
        assert part[0, 0, :, 0, 0].tolist() == list(positions) and part.shape[2] == x.shape[2]


def test_forwards_are_those_of_the_plan():
    experts = Spy()
    request = replace(HALF, cfg_truncate_steps=1, cfg_truncate_high_noise_steps=1)
    run(request, experts)
    assert [name for name, *_ in experts.calls] == [s.expert for s in plan(request) for _ in range(s.forwards)]


def test_truncation_modes_are_what_they_say():
    """With one truncated step, everything before it is equal, so the last velocities can be told apart."""
    request = replace(REQUEST, cfg_truncate_steps=1)
    x = run(REQUEST)[-2].latents
    last = plan(REQUEST)[-1]
    low = Spy().get("low")
    cond, uncond = (
        low(x, torch.tensor([last.timestep]), [c]) for c in (conditions().context, conditions().context_null)
    )
    for mode, flow in {"cond": cond, "uncond": uncond}.items():
        got = run(replace(request, cfg_truncate_mode=mode))[-1].latents
        torch.testing.assert_close(got, x - last.sigma * flow, atol=1e-5, rtol=0)  # float32, in another order


def test_delta_is_exact_where_the_difference_does_not_change():
    class Constant:
        """A model whose branches differ by a constant."""

        config = wan_model().config

        def embed_text(self, contexts):
            return contexts[0]

        def __call__(self, x, t, text, y, positions):
            return torch.tanh(x) + text.mean()

    class Source:
        def get(self, expert):
            return Constant()

    exact = run(REQUEST, Source())[-1].latents
    delta = run(replace(REQUEST, cfg_truncate_steps=1, cfg_truncate_mode="delta"), Source())[-1].latents
    cond = run(replace(REQUEST, cfg_truncate_steps=1), Source())[-1].latents
    torch.testing.assert_close(delta, exact, atol=1e-5, rtol=0)
    assert (cond - exact).abs().max() > 1e-3


def test_nothing_in_the_loop_holds_on_to_the_expert_that_leaves():
    alive = weakref.WeakSet()
    together = []

    def load(expert, device):
        model = wan_model()
        alive.add(model)
        model.register_forward_pre_hook(lambda *_: together.append(len(alive)))
        return model

    noise = draw_noise(FULL_SHAPE[1:], seed=3, device="cpu")
    list(denoise(plan(REQUEST), Experts(load, "cpu", "one"), noise, conditions()))
    assert together[-1] == 1  # the other expert was let go at the switch


def test_several_videos_pass_the_switch_once():
    requests = [REQUEST, HALF]
    plans = [plan(r) for r in requests]
    experts = Spy()
    noise = draw_noise(FULL_SHAPE[1:], seed=3, device="cpu")
    runs = [denoise(p, experts, noise, conditions()) for p in plans]
    done = list(phase_by_phase(plans, runs))
    assert [d.step.expert for _, d in done] == sorted((d.step.expert for _, d in done))  # all high, then all low
    for i, request in enumerate(requests):
        last = [d for n, d in done if n == i][-1]
        assert torch.equal(last.latents, run(request)[-1].latents)
