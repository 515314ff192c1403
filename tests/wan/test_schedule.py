"""Schedules against the published numbers; whole trajectories are compared in tests/golden."""

import numpy as np
import pytest
import torch

from wan import schedule


def official_few_step_table(shift: float) -> np.ndarray:
    """sigma of training timesteps 1000, 999, ... 1, as a linspace with one extra point that is dropped."""
    sigmas = np.linspace(1.0, 0.0, 1001)[:-1]
    return shift * sigmas / (1 + (shift - 1) * sigmas)


@pytest.mark.parametrize(
    ("listed", "timesteps"),
    [((1000, 666, 333), [1000, 908.8427, 713.9794]), ((1000, 750, 500, 250), [1000, 937.5, 833.3333, 625])],
)
def test_few_step_is_the_released_models_list(listed, timesteps):
    got = schedule.few_step(listed, shift=5.0)
    np.testing.assert_allclose(got.timesteps, timesteps, rtol=1e-6)  # published to 7 digits
    np.testing.assert_allclose(got.sigmas, np.array(timesteps) / 1000, rtol=1e-6)


def test_few_step_without_warp_takes_the_nearest_sigma_of_the_table():
    got = schedule.few_step((1000, 757, 522), shift=5.0, warp=False)
    table = official_few_step_table(5.0)
    assert got.timesteps == (1000, 757, 522)
    for t, sigma in zip(got.timesteps, got.sigmas, strict=True):
        nearest = table[np.abs(table * 1000 - t).argmin()]
        assert sigma == pytest.approx(nearest, rel=2e-7)  # the table is float32, as official


def test_few_step_refuses_a_step_outside_the_table():
    with pytest.raises(ValueError, match="1001.*1 to 1000"):
        schedule.few_step((1001, 500), shift=5.0)


def test_solver_schedules_give_the_model_whole_timesteps_and_end_at_zero():
    for make in (schedule.unipc, schedule.dpmpp):
        got = make(20, 12.0)
        assert all(t == int(t) for t in got.timesteps)
        assert len(got.timesteps) == 20 and len(got.sigmas) == 21 and got.sigmas[-1] == 0
    assert schedule.unipc(20, 12.0).timesteps[:2] == (999, 995)  # just below pure noise
    assert schedule.dpmpp(20, 12.0).timesteps[:2] == (1000, 995)  # pure noise


def test_renoise_and_x0_undo_each_other():
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 3, 4, generator=generator), torch.randn(2, 3, 4, generator=generator)
    x = schedule.renoise(x0, noise, 0.7)
    # float32 rounding of values near 3
    torch.testing.assert_close(schedule.x0_from_flow(noise - x0, x, 0.7), x0, atol=1e-6, rtol=0)
