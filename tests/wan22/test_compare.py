"""Who is compared with whom, and numbers whose value is known."""

import numpy as np
import pytest

from mgcli.video.request import accelerations
from wan22.compare import FrameQuality, compare_frames, contestants, of_video
from wan22.config import Request
from wan22.plan import planned

RECOMMENDED = accelerations("recommended")
REQUEST = Request(size="832*480", frame_num=49, sample_steps=20, prompt="a cat", base_seed=3)


@pytest.mark.parametrize(
    ("mode", "forwards"),
    [
        ("half_vs_baseline", {"baseline": 40, "half": 40}),
        ("cfg_vs_baseline", {"baseline": 40, "cfg": 32}),
        ("all_vs_baseline", {"baseline": 40, "all": 32}),
        ("completion", {"baseline": 40, "repeat": 40, "improved": 40, "renoise": 40}),
    ],
)
def test_each_mode_compares_the_exact_request_with_its_own(mode, forwards):
    made = contestants(mode, REQUEST, RECOMMENDED)
    assert {name: video.totals.forwards for name, video in made.items()} == forwards
    assert made["baseline"] == planned(REQUEST)
    assert {(v.request.prompt, v.request.base_seed) for v in made.values()} == {("a cat", 3)}


def test_the_requests_own_flags_decide_the_details():
    own = Request(
        size="832*480", frame_num=49, sample_steps=20, enable_half_frame_generation=True,
        frame_completion="renoise", cfg_truncate_steps=2,
    )  # fmt: skip
    made = contestants("all_vs_baseline", own, RECOMMENDED)
    assert made["all"] == planned(own) and made["baseline"] == planned(own.exact())
    assert contestants("cfg_vs_baseline", own, RECOMMENDED)["cfg"].request.cfg_truncate_high_noise_steps == 0
    [_, unsaid] = contestants(
        "cfg_vs_baseline", REQUEST, {"cfg_truncate_steps": 4, "cfg_truncate_high_noise_steps": 1}
    ).values()
    assert (unsaid.request.cfg_truncate_steps, unsaid.request.cfg_truncate_high_noise_steps) == (4, 1)


def test_a_contestant_that_cannot_run_is_refused_at_once():
    with pytest.raises(ValueError, match="cfg_truncate_steps 5"):
        contestants("cfg_vs_baseline", Request(sample_steps=4), RECOMMENDED)
    with pytest.raises(ValueError, match="unknown comparison_mode 'half'; use one of half_vs_baseline"):
        contestants("half", REQUEST, RECOMMENDED)


def frames(value: int, count: int = 2) -> list[np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 200, (32, 48, 3), dtype=np.uint8)
    return [noise + np.uint8(value)] * count


def test_known_differences_have_known_numbers():
    [first, second] = compare_frames(frames(0), frames(51))
    assert first.mse == pytest.approx(0.04) and first.psnr == pytest.approx(13.979, abs=1e-3)  # 51/255 = 0.2
    assert 0.5 < first.ssim < 1 and first == second
    [same, _] = compare_frames(frames(0), frames(0))
    assert (same.mse, same.psnr, same.ssim) == (0, None, pytest.approx(1))


def test_a_videos_psnr_is_of_all_its_pixels():
    video = of_video([FrameQuality(0.0, 1.0), FrameQuality(0.02, 0.9)])
    assert video.psnr == pytest.approx(20) and video.ssim == pytest.approx(0.95)
