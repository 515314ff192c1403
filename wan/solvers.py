"""UniPC and DPM++ for flow models: second-order multistep solvers, each step one or two linear combinations of latents.

The numbers of a step depend on the sigmas alone, so they are host floats from pure functions; what a solver remembers
between steps lives in a History that can be stretched in time. Both predict x0 and both use the same
predictor; UniPC also corrects the latents it predicted once the model has been asked at the new noise level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from wan.schedule import x0_from_flow

ORDER = 2  # of both solvers in the official pipelines


@dataclass
class History:
    """The predictions of x0 still in use, newest first, and the latents the last step started from."""

    x0s: list[Tensor] = field(default_factory=list)
    last_sample: Tensor | None = None

    @property
    def order(self) -> int:
        """Order of the step that made the present latents; 0 before the first step and after a restart."""
        return len(self.x0s)

    def push(self, x0: Tensor, sample: Tensor) -> None:
        self.x0s = [x0, *self.x0s][:ORDER]
        self.last_sample = sample

    def restart(self) -> None:
        """Forget everything: the next step is first order."""
        self.x0s, self.last_sample = [], None

    def map(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Replace every tensor, for example by its completion in time."""
        self.x0s = [fn(x0) for x0 in self.x0s]
        self.last_sample = None if self.last_sample is None else fn(self.last_sample)


@dataclass(frozen=True)
class Mix:
    """sample * a + x0s[0] * b[0] + x0s[1] * b[1]: all that a step does to tensors."""

    sample: float
    x0s: tuple[float, ...]

    def __call__(self, sample: Tensor, x0s: Sequence[Tensor]) -> Tensor:
        mixed = sample * self.sample
        for weight, x0 in zip(self.x0s, x0s, strict=True):
            mixed = mixed + x0 * weight
        return mixed


def predictor(sigmas: Sequence[float], index: int, order: int) -> Mix:
    """From sigmas[index] to sigmas[index + 1] with predictions at `index` and, for order 2, at index - 1."""
    ratio, gain, h = _interval(sigmas, index)
    if order == 1:
        return Mix(ratio, (gain,))
    r = _distance(sigmas, index, index - 1) / h
    return Mix(ratio, (gain * (1 - 0.5 / r), gain * 0.5 / r))


def corrector(sigmas: Sequence[float], index: int, order: int) -> Mix:
    """The step to sigmas[index] again, now with the prediction made there: x0s at index, index - 1 (, index - 2).

    For order 2 the weights rho solve rho0 + rho1 = b1, r * rho0 + rho1 = b2 (the B2(h) variant of the UniPC paper).
    """
    ratio, gain, h = _interval(sigmas, index - 1)
    if order == 1:
        return Mix(ratio, (gain * 0.5, gain * 0.5))
    r = _distance(sigmas, index - 1, index - 2) / h
    b1 = 1 / math.expm1(-h) * (math.expm1(-h) / -h - 1)
    b2 = 2 / math.expm1(-h) * ((math.expm1(-h) / -h - 1) / -h - 0.5)
    rho0 = (b1 - b2) / (1 - r)
    rho1 = b1 - rho0
    return Mix(ratio, (gain * rho1, gain * (1 - rho0 / r - rho1), gain * rho0 / r))


def _interval(sigmas: Sequence[float], index: int) -> tuple[float, float, float]:
    """The exact solution for a constant x0, sample * ratio + x0 * gain, and the step h in log signal-to-noise."""
    h = _distance(sigmas, index, index + 1)
    return sigmas[index + 1] / sigmas[index], (sigmas[index + 1] - 1) * math.expm1(-h), h


def _distance(sigmas: Sequence[float], start: int, end: int) -> float:
    return _log_snr(sigmas[end]) - _log_snr(sigmas[start])


def _log_snr(sigma: float) -> float:
    """log((1 - sigma) / sigma): minus infinity at pure noise, infinity when clean; both ends are used."""
    if sigma in (0.0, 1.0):
        return math.inf if sigma == 0.0 else -math.inf
    return math.log(1 - sigma) - math.log(sigma)


class DPMpp:
    """DPM-Solver++ (2M, midpoint); its last step is first order because it ends at sigma 0."""

    def __init__(self, sigmas: Sequence[float]):
        self.sigmas = tuple(sigmas)

    def step(self, index: int, flow: Tensor, sample: Tensor, history: History) -> Tensor:
        """Latents at sigmas[index + 1] from the model's flow for `sample` at sigmas[index]; `history` takes it in."""
        return self._predict(index, self._x0(index, flow, sample), sample, history)

    def _x0(self, index: int, flow: Tensor, sample: Tensor) -> Tensor:
        return x0_from_flow(flow.to(sample.dtype), sample, self.sigmas[index])

    def _predict(self, index: int, x0: Tensor, sample: Tensor, history: History) -> Tensor:
        history.push(x0, sample)
        order = 1 if self.sigmas[index + 1] == 0 else history.order
        return predictor(self.sigmas, index, order)(sample, history.x0s[:order])


class UniPC(DPMpp):
    """UniPC (order 2, B2(h), x0 prediction): corrects where the last step ended before it makes the next one."""

    def step(self, index: int, flow: Tensor, sample: Tensor, history: History) -> Tensor:
        x0 = self._x0(index, flow, sample)
        if history.last_sample is not None:
            correct = corrector(self.sigmas, index, history.order)
            sample = correct(history.last_sample, [x0, *history.x0s])
        return self._predict(index, x0, sample, history)


# by the names of wan.schedule.SCHEDULES
SOLVERS: dict[str, type[DPMpp]] = {"unipc": UniPC, "dpm++": DPMpp}
