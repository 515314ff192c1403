"""Completion in time: any length and batch, contiguous, differentiable; and what the solver does after each method."""

import pytest
import torch

from wan.schedule import SCHEDULES
from wan.solvers import History, UniPC
from wan22 import frames

LENGTHS = [1, 2, 3, 4, 5, 13, 21, 31, 24, 49]
SIGMAS = SCHEDULES["unipc"](8, 5.0).sigmas


def numbered(full: int, batch: int = 1) -> torch.Tensor:
    """Half latents whose every value is 100 * batch element + frame."""
    half = frames.half(full)
    values = 100 * torch.arange(batch)[:, None] + torch.arange(half)[None]
    return values.float()[:, None, :, None, None].expand(batch, 2, half, 2, 3).contiguous()


@pytest.mark.parametrize("full", LENGTHS)
@pytest.mark.parametrize("batch", [1, 3])
def test_frame_i_repeats_frame_i_over_2_of_its_own_batch_element(full, batch):
    got = frames.repeat(numbered(full, batch), full)
    assert got.shape == (batch, 2, full, 2, 3) and got.is_contiguous()
    want = [[100 * b + i // 2 for i in range(full)] for b in range(batch)]
    assert got[:, 0, :, 0, 0].tolist() == want


def test_the_notes_order():
    assert frames.sources(49)[:6] == [0, 0, 1, 1, 2, 2] and frames.sources(49)[-3:] == [23, 23, 24]


@pytest.mark.parametrize("complete", [frames.repeat, frames.interpolate])
@pytest.mark.parametrize("full", [4, 5])
def test_gradients_pass(complete, full):
    x = torch.randn(2, 1, frames.half(full), 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda latents: complete(latents, full), x)


def test_gradients_pass_through_renoising():
    x = torch.randn(1, 1, 3, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda latents: frames.insert(latents, torch.ones(1, 1, 5, 1, 2, dtype=torch.float64)), x
    )


@pytest.mark.parametrize("shape", [(1, 2, 6, 2, 3), (2, 7, 2, 3), (1, 2, 13, 2, 3)])
def test_a_wrong_shape_is_an_error(shape):
    with pytest.raises(ValueError, match="13 latent frames needs .*7"):
        frames.repeat(torch.zeros(shape), 13)


def test_interpolated_frames_lie_between_their_neighbours():
    assert frames.interpolate(numbered(5), 5)[0, 0, :, 0, 0].tolist() == [0, 0.5, 1, 1.5, 2]
    assert frames.interpolate(numbered(4), 4)[0, 0, :, 0, 0].tolist() == [0, 0.5, 1, 1]


def run_to_switch(full: int = 5) -> tuple[torch.Tensor, History, torch.Tensor, UniPC]:
    """Four steps on half frames: latents at SIGMAS[4], a history of order 2, the noise of all frames."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 3, full, 2, 2, generator=generator)
    solver, history, x = UniPC(SIGMAS), History(), noise[:, :, ::2]
    for i in range(4):
        x = solver.step(i, torch.tanh(x), x, history)
    return x, history, noise, solver


@pytest.mark.parametrize(("method", "order_after"), [("repeat", 1), ("improved", 2), ("renoise", 2)])
def test_improved_completion_keeps_second_order_and_basic_completion_restarts(method, order_after):
    x, history, noise, solver = run_to_switch()
    full = frames.complete(method, x, history, noise, SIGMAS[4], SIGMAS[3])
    solver.step(4, torch.tanh(full), full, history)
    assert history.order == order_after
    assert all(x0.shape == noise.shape for x0 in history.x0s)


def test_improved_completion_equals_having_run_on_repeated_frames_all_along():
    x, history, noise, solver = run_to_switch()
    full = frames.complete("improved", x, history, noise, SIGMAS[4], SIGMAS[3])
    after = solver.step(4, torch.tanh(full), full, history)

    solver, whole, y = UniPC(SIGMAS), History(), frames.repeat(noise[:, :, ::2], 5)
    for i in range(5):
        y = solver.step(i, torch.tanh(y), y, whole)
    torch.testing.assert_close(after, y, atol=0, rtol=0)


def test_renoising_keeps_the_frames_there_are_and_gives_the_inserted_ones_their_own_noise():
    x, history, noise, _ = run_to_switch()
    x0 = history.x0s[0]
    full = frames.complete("renoise", x, history, noise, SIGMAS[4], SIGMAS[3])
    torch.testing.assert_close(full[:, :, ::2], x, atol=0, rtol=0)
    between = (x0[:, :, :-1] + x0[:, :, 1:]) / 2
    want = (1 - SIGMAS[4]) * between + SIGMAS[4] * noise[:, :, 1::2]
    torch.testing.assert_close(full[:, :, 1::2], want, atol=1e-6, rtol=0)  # float32, in another order


@pytest.mark.parametrize("full", LENGTHS)
def test_half_frames_start_from_noise_of_unit_variance_of_every_other_frame_or_of_pairs(full):
    noise, count = torch.randn(1, 4, full, 16, 24, generator=torch.Generator().manual_seed(0)), frames.half(full)
    assert torch.equal(frames.start(noise, full, "pairs"), noise)
    alternate, pairs = (frames.start(noise, count, kind) for kind in ("alternate", "pairs"))
    assert torch.equal(alternate, noise[:, :, ::2]) and pairs.shape == alternate.shape
    assert torch.equal(pairs[:, :, 0], noise[:, :, 0]) and abs(pairs.std() - 1) < 0.05
    seen = noise[:, :, : 2 * count - 1]  # of an even number the last frame has no partner
    assert torch.allclose(pairs[:, :, 1:].sum(2) * 2**0.5, seen[:, :, 1:].sum(2), atol=1e-4)
