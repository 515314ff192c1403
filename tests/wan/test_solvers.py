"""What a solver remembers between steps; equality with the official trajectories is in tests/golden."""

import pytest
import torch

from wan.schedule import SCHEDULES
from wan.solvers import SOLVERS, History, corrector, predictor

VALUES = torch.linspace(-1, 1, 24).reshape(1, 2, 3, 4)


def flow(x: torch.Tensor, t: float) -> torch.Tensor:
    return torch.tanh(0.7 * x + t / 1000)


def run(name: str, steps: int, shift: float = 5.0, change=lambda index, history: None) -> torch.Tensor:
    """The whole way from sigma near 1 to 0; `change(index, history)` is called before each step."""
    plan = SCHEDULES[name](steps, shift)
    solver, history, x = SOLVERS[name](plan.sigmas), History(), VALUES
    for i, t in enumerate(plan.timesteps):
        change(i, history)
        x = solver.step(i, flow(x, t), x, history)
    return x


@pytest.mark.parametrize("name", SOLVERS)
def test_one_step_is_the_prediction_of_x0(name):
    plan = SCHEDULES[name](1, 12.0)
    want = VALUES - plan.sigmas[0] * flow(VALUES, plan.timesteps[0])
    torch.testing.assert_close(run(name, 1, 12.0), want)


@pytest.mark.parametrize("name", SOLVERS)
def test_weights_keep_a_clean_sample_clean(name):
    """A sample a = (1 - sigma) * x0 of a constant x0 (no noise) must arrive at (1 - next sigma) * x0."""
    sigmas = SCHEDULES[name](12, 5.0).sigmas
    for i in range(2, 11):
        for order in (1, 2):
            mix = predictor(sigmas, i, order)
            assert mix.sample * (1 - sigmas[i]) + sum(mix.x0s) == pytest.approx(1 - sigmas[i + 1])
            mix = corrector(sigmas, i, order)
            assert mix.sample * (1 - sigmas[i - 1]) + sum(mix.x0s) == pytest.approx(1 - sigmas[i])


@pytest.mark.parametrize("name", SOLVERS)
def test_a_restart_makes_the_next_step_first_order(name):
    orders = []

    def restart_at_4(index, history):
        orders.append(history.order)
        if index == 4:
            history.restart()

    assert not torch.equal(run(name, 8, change=restart_at_4), run(name, 8))
    assert orders == [0, 1, 2, 2, 2, 1, 2, 2]


@pytest.mark.parametrize("name", SOLVERS)
def test_a_history_stretched_in_time_goes_on_at_the_same_order(name):
    """Elements do not mix in a solver, so stretching latents and history half way equals stretching the result."""
    plan = SCHEDULES[name](8, 5.0)
    solver, history, x = SOLVERS[name](plan.sigmas), History(), VALUES
    for i, t in enumerate(plan.timesteps):
        if i == 5:
            x = x.repeat_interleave(2, dim=1)
            history.map(lambda tensor: tensor.repeat_interleave(2, dim=1))
        x = solver.step(i, flow(x, t), x, history)
    torch.testing.assert_close(x, run(name, 8).repeat_interleave(2, dim=1), atol=0, rtol=0)
