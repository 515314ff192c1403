"""The world judge passes the truth and what a decent VAE makes of it, and fails each kind of sabotage for its own reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wanmini.judge_world import (
    BARS,
    WITHIN,
    Extent,
    Walks,
    directions,
    idle_walks,
    judge,
    known_pixels,
    long_walks,
    moved_right,
    plausibility,
    scripted_walks,
    similarity,
    spans,
    stillness,
    turned_right,
    typical_frames,
    unhindered,
    verdict,
)

SIZE = (48, 80)


@pytest.fixture(scope="module")
def walks() -> Walks:
    return scripted_walks(8, 3)


@pytest.fixture(scope="module")
def truth(walks: Walks) -> Tensor:
    return walks.true_video(SIZE)


def _blurred(video: Tensor, width: int) -> Tensor:
    return F.avg_pool3d(video, (1, width, width), 1, (0, width // 2, width // 2), count_include_pad=False)


def _by_renderer(extent: Extent) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A generator that knows the maps: the best there can be."""
    all_walks = (scripted_walks(extent.walkers, extent.blocks), idle_walks(extent.idlers), long_walks(extent.wanderers, extent.long_blocks))  # fmt: skip

    def generate(images: Tensor, keyboard: Tensor, mouse: Tensor) -> Tensor:
        walks = next(w for w in all_walks if w.mouse.shape == mouse.shape and torch.equal(w.mouse, mouse))
        assert torch.equal(walks.start_images(SIZE), images)
        return walks.true_video(SIZE)

    return generate


def test_the_truth_meets_every_bar() -> None:
    extent = Extent(walkers=4, blocks=3, idlers=1, wanderers=4, long_blocks=4)
    found = judge(_by_renderer(extent), extent, SIZE)
    assert found["turn_right"] == found["move_right"] == 1 and found["idle_db"] > 60
    assert verdict(found).keys() == BARS.keys() - {"first_8_blocks_db"} | WITHIN.keys()
    assert all(verdict(found).values()), found


def test_softness_costs_decibels_and_no_direction(walks: Walks, truth: Tensor) -> None:
    soft = _blurred(truth, 3) + 0.03 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    assert 25 < similarity(soft, walks)["first_3_blocks_db"] < 35
    assert directions(soft, walks) == {"turn_right": 1, "move_right": 1}


def test_a_right_world_is_right_in_another_map_too(walks: Walks) -> None:
    """What a generator makes up need not be the map that the judge has."""
    elsewhere = scripted_walks(8, 3, seed=500)
    assert torch.equal(elsewhere.mouse, walks.mouse)
    judged = unhindered(walks) & unhindered(elsewhere)  # a wall there may stop what is free here
    last = [block.frames.stop - 1 for block in spans(3)]
    video = elsewhere.true_video(SIZE)
    moves, turns = judged & walks.keyboard[:, last].any(-1), judged & (walks.mouse[:, last, 1] != 0)
    assert moves.sum() > 5 and turns.sum() > 5
    assert moved_right(video, walks)[moves].all() and turned_right(video, walks)[turns].all()


@pytest.mark.slow  # the judge is part of the slow training checks
def test_a_mirrored_turn_and_swapped_keys_are_found(walks: Walks, truth: Tensor) -> None:
    mirrored = Walks(walks.maze, walks.start, walks.keyboard, walks.mouse * torch.tensor([1, -1])).true_video(SIZE)
    assert directions(mirrored, walks)["turn_right"] < 0.3
    assert similarity(mirrored, walks)["first_3_blocks_db"] < BARS["first_3_blocks_db"]
    swapped = Walks(walks.maze, walks.start, walks.keyboard[..., [1, 0, 3, 2]], walks.mouse).true_video(SIZE)
    assert directions(swapped, walks)["move_right"] < 0.3


def test_a_frozen_world_is_found(walks: Walks, truth: Tensor) -> None:
    frozen = truth[:, :, :1].expand_as(truth)
    found = directions(frozen, walks)
    assert found["turn_right"] < 0.3 and found["move_right"] < 0.3
    assert similarity(frozen, walks)["first_3_blocks_db"] < BARS["first_3_blocks_db"]


def test_mush_noise_and_restlessness_are_found(truth: Tensor) -> None:
    real = typical_frames(SIZE, 0)
    assert plausibility(_blurred(truth, 5), real)["late_sharpness"] < 1 - WITHIN["late_sharpness"]
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    assert plausibility(noisy, real)["late_sharpness"] > 1 + WITHIN["late_sharpness"]
    assert plausibility(0.5 * truth, real)["late_contrast"] < 1 - WITHIN["late_contrast"]
    assert stillness(truth)["idle_db"] < BARS["idle_db"]


def test_known_pixels_are_those_in_view_before(walks: Walks) -> None:
    known = known_pixels(walks, (24, 40))
    turning_right = (walks.mouse[:, 4, 1] > 0) & ~walks.keyboard[:, 4].any(-1)
    assert known[:, 0].all()
    seen = known[turning_right][:, 8]  # 8 frames of turning: what came in from the right was not in view
    assert seen[..., :20].float().mean() > 0.9 and not seen[..., -4:].any()
