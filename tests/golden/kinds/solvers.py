"""Both solvers on a closed formula for the velocity: schedules and every state of the trajectory."""

import torch

from tests.golden.golden_file import GoldenFile, assert_close
from wan.schedule import SCHEDULES
from wan.solvers import SOLVERS, History

# Weights of a step come from float64 here and from float32 tensors there; the differences do not grow over 40 steps.
TOLERANCE = 2e-6


def check(golden: GoldenFile) -> None:
    a, b = golden["in/a"], golden["in/b"]
    x = torch.linspace(-2, 2, a.numel()).reshape(a.shape)
    for name in golden.names("out/"):
        _, solver, case, what = name.split("/")
        if what == "trajectory":
            check_trajectory(golden, f"out/{solver}/{case}", solver, x, a, b)


def check_trajectory(golden: GoldenFile, prefix: str, solver_name: str, x, a, b) -> None:
    steps, shift = prefix.rsplit("/", 1)[1].split("_")
    plan = SCHEDULES[solver_name](int(steps), float(shift))
    assert list(plan.timesteps) == golden[f"{prefix}/timesteps"].tolist()
    assert list(plan.sigmas) == golden[f"{prefix}/sigmas"].tolist()
    solver, history = SOLVERS[solver_name](plan.sigmas), History()
    for i, t in enumerate(plan.timesteps):
        x = solver.step(i, torch.tanh(a * x + t / 1000 * b), x, history)
        assert_close(f"{prefix} step {i}", x, golden[f"{prefix}/trajectory"][i], TOLERANCE)
