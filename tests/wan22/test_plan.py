"""The plan is the specification: these numbers come from FACTS of the released models, not from the code."""

from dataclasses import replace

import pytest

from wan22.config import Request
from wan22.plan import plan, planned

BASE = Request(size="832*480", frame_num=49, sample_steps=20)
HALF = replace(BASE, enable_half_frame_generation=True)
BOTH = replace(HALF, enable_improved_frame_completion=True, cfg_truncate_steps=5, cfg_truncate_high_noise_steps=3)


def columns(request, *names):
    return [tuple(getattr(step, name) for name in names) for step in plan(request)]


@pytest.mark.parametrize(("steps", "high", "low"), [(20, 13, 7), (40, 26, 14)])
@pytest.mark.parametrize("solver", ["unipc", "dpm++"])
def test_the_experts_hand_over_at_the_boundary(steps, high, low, solver):
    request = replace(BASE, sample_steps=steps, sample_solver=solver)
    assert columns(request, "expert") == [("high",)] * high + [("low",)] * low


def test_defaults_are_upstreams():
    steps = plan(Request())
    assert len(steps) == 40 and steps[0].latent_frames == 21
    assert (steps[0].guidance, steps[-1].guidance) == (4.0, 3.0)
    assert steps[0].seq_len == 21 * 45 * 80  # 1280*720
    assert {s.guidance for s in plan(Request(task="i2v-A14B"))} == {3.5}


@pytest.mark.parametrize(
    ("frame_num", "half", "full", "half_tokens", "full_tokens"),
    [
        (49, 7, 13, 10920, 20280),
        (81, 11, 21, 17160, 32760),
        (121, 16, 31, 24960, 48360),
        (48, 7, 13, 10920, 20280),
        (80, 11, 21, 17160, 32760),
    ],
)
def test_half_frames_halve_the_first_expert_only(frame_num, half, full, half_tokens, full_tokens):
    got = columns(replace(HALF, frame_num=frame_num), "latent_frames", "seq_len", "completion")
    assert got == [(half, half_tokens, None)] * 13 + [(full, full_tokens, "repeat")] + [(full, full_tokens, None)] * 6


def test_both_accelerations_are_32_forwards_instead_of_40():
    assert [s.forwards for s in plan(BOTH)] == [2] * 10 + [1] * 3 + [2] * 2 + [1] * 5
    got = planned(BOTH).totals
    assert (got.high, got.low, got.forwards) == (13, 7, 32)
    assert got.token_forwards == 23 * 10920 + 9 * 20280
    assert planned(BASE).totals.forwards == 40 and planned(BASE).totals.relative_cost == 1
    # measured forwards (0.52 s and 1.25 s at the floor) say 1.6x and 2.2x; arithmetic alone is a little less
    assert 1 / planned(HALF).totals.relative_cost == pytest.approx(1.6, abs=0.05)
    assert 1 / got.relative_cost == pytest.approx(2.15, abs=0.1)


def test_truncated_steps_keep_the_branch_that_was_asked_for():
    def last_low(mode):
        return plan(replace(BOTH, cfg_truncate_mode=mode))[-1]

    assert (last_low("cond").branch, last_low("cond").guidance) == ("cond", 1.0)
    assert (last_low("uncond").branch, last_low("uncond").guidance) == ("uncond", 0.0)
    assert (last_low("delta").branch, last_low("delta").guidance) == ("delta", 3.0)


def test_a_difference_is_re_added_only_where_the_same_expert_has_made_one():
    request = replace(BASE, cfg_truncate_steps=7, cfg_truncate_high_noise_steps=3, cfg_truncate_mode="delta")
    assert columns(request, "branch") == [("both",)] * 10 + [("delta",)] * 3 + [("cond",)] * 7


def test_a_guidance_of_one_needs_one_branch():
    assert [s.forwards for s in plan(replace(BASE, sample_guide_scale=(1.0, 4.0)))] == [2] * 13 + [1] * 7


def test_positions_in_time():
    assert plan(HALF)[0].frame_positions == (0, 1, 2, 3, 4, 5, 6)
    assert plan(replace(HALF, half_frame_rope="stretch"))[0].frame_positions == (0, 2, 4, 6, 8, 10, 12)
    assert plan(HALF)[-1].frame_positions == tuple(range(13))


def test_sigmas_chain_to_zero():
    steps = plan(BASE)
    assert all(a.sigma_next == b.sigma for a, b in zip(steps, steps[1:], strict=False)) and steps[-1].sigma_next == 0
    assert steps[13].sigma == pytest.approx(0.8658, abs=1e-4)  # at the switch


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "830*480"}, r"multiples of 16 from 16 to 16384; nearest is 832\*480"),
        ({"size": "832"}, r"WIDTH\*HEIGHT"),
        ({"size": "640*352"}, r"832\*480.*allow any"),
        ({"size": "0*480", "any_size": True}, "multiples of 16 .*; nearest is 16"),
        ({"frame_num": 0}, "frame_num 0 must be from 1 to 4093; nearest is 1"),
        ({"frame_num": -5}, "frame_num -5 must be from 1"),
        ({"sample_steps": 0}, "sample_steps 0 must be from 1 to 1000; nearest is 1"),
        ({"sample_shift": 0.0}, "sample_shift 0"),
        ({"cfg_truncate_steps": 21}, "cfg_truncate_steps 21 .* 20 steps"),
        ({"cfg_truncate_steps": -1}, "cfg_truncate_steps -1"),
        ({"cfg_truncate_high_noise_steps": 14}, "13 high-noise steps.*at most 13"),
        (
            {"enable_half_frame_generation": True, "sample_steps": 1},
            "1 steps at shift 12 are 1 high-noise and 0 low-noise; use more",
        ),
        ({"frame_completion": "renoise"}, "completes half frames; ask for them too"),
        (
            {
                "enable_half_frame_generation": True,
                "enable_improved_frame_completion": True,
                "frame_completion": "renoise",
            },
            "two completions .* improved and renoise; give one",
        ),
        ({"task": "t2v-14B"}, "unknown task 't2v-14B'; use t2v-A14B or i2v-A14B"),
        ({"task": "ti2v-5B"}, "dense model"),
        ({"task": "ti2v-5B", "enable_half_frame_generation": True}, "half frames need two experts"),
        ({"sample_solver": "euler"}, "unipc or dpm"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        plan(replace(BASE, **changes))
    assert "\n" not in str(error.value)


def test_one_step_and_any_size_work():
    assert len(plan(replace(BASE, sample_steps=1))) == 1
    assert plan(replace(BASE, size="640*352", any_size=True))[0].seq_len == 13 * 22 * 40
