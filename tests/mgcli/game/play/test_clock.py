"""Blocks begin as late as possible and are shown steadily, on a clock that the test moves."""

import itertools

import pytest

from mgcli.game.play.clock import EASE, SPARE, Clock

FRAMES = 12


class Worker:
    """Makes blocks that take `seconds` until their frames are there and `after` for the rest."""

    def __init__(self, fps: float = 25.0):
        self.time = 100.0
        self.clock = Clock(fps, lambda: self.time)
        self.shown: list[float] = []  # when each frame is shown
        self.latency: list[float] = []  # from keys to the first frame of their block

    def block(self, seconds: float, after: float = 0.0) -> None:
        self.time += self.clock.wait()
        assert self.clock.wait() == pytest.approx(0.0, abs=1e-9)
        self.clock.begin()
        began = self.time
        self.time += seconds
        due, interval = self.clock.due(FRAMES)
        assert due >= self.time, "a frame cannot be shown before it is there"
        self.shown += [due + i * interval for i in range(FRAMES)]
        self.latency.append(due - began)
        self.time += after
        self.clock.done()

    @property
    def gaps(self) -> list[float]:
        return [b - a for a, b in itertools.pairwise(self.shown)]


def test_a_fast_model_is_shown_at_the_rate_of_the_video_without_gaps():
    worker = Worker()
    for _ in range(20):
        worker.block(0.13, after=0.03)
    assert worker.gaps == pytest.approx([0.04] * len(worker.gaps))


def test_and_its_blocks_begin_just_in_time():
    worker = Worker()
    for _ in range(20):
        worker.block(0.13, after=0.03)
    assert worker.latency[5:] == pytest.approx([0.13 + SPARE] * 15)


def test_a_slow_model_is_shown_steadily_at_its_own_rate():
    worker = Worker()
    for _ in range(20):
        worker.block(1.0, after=0.2)
    settled = worker.gaps[4 * FRAMES :]
    assert settled == pytest.approx([EASE * 1.2 / FRAMES] * len(settled))


def test_what_varies_is_evened_out():
    worker = Worker()
    for i in range(60):
        worker.block(0.95 if i % 2 else 1.05)
    late = [gap for gap in worker.gaps[20 * FRAMES :] if gap > 1.5 * EASE / FRAMES]
    assert not late


def test_slow_first_blocks_are_not_what_is_expected():
    worker = Worker()
    for seconds in [5.0, 4.0, *[0.1] * 10]:
        worker.block(seconds)
    assert max(worker.gaps[2 * FRAMES :]) == pytest.approx(0.04)
    assert worker.latency[-1] == pytest.approx(0.1 + SPARE)


def test_a_slow_block_makes_the_next_ones_begin_no_more_than_a_block_ahead():
    worker = Worker()
    for seconds in [*[0.1] * 6, 3.0, *[0.1] * 4]:
        worker.block(seconds)
    assert max(worker.latency[-4:]) <= FRAMES * 0.04 + 1e-9


def test_a_pause_moves_the_schedule():
    worker = Worker()
    worker.block(0.1)
    worker.time += 60
    worker.block(0.1)
    assert worker.latency[-1] == pytest.approx(0.1)
