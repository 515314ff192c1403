"""The scene judge is right on true videos, also blurred and noisy ones, and notices what is wrong with false ones."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wanmini.judge_scenes import components, read, score
from wanmini.scenes import Scenes, draw

FRAMES = 9


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes.sample(torch.arange(7))


@pytest.fixture(scope="module")
def video(scenes: Scenes) -> Tensor:
    return draw(scenes, FRAMES)


def _soft(video: Tensor) -> Tensor:
    """What a small VAE does to it, roughly."""
    blurred = F.avg_pool3d(F.pad(video, (1, 1, 1, 1, 0, 0), mode="replicate"), (1, 3, 3), 1)
    return blurred + 0.04 * torch.randn(video.shape, generator=torch.Generator().manual_seed(0))


def test_true_videos_are_read_right(scenes: Scenes, video: Tensor) -> None:
    for shown in (video, _soft(video)):
        for name, right in score(read(shown), scenes).items():
            assert right.nanmean() == 1, name


def test_false_videos_are_noticed(scenes: Scenes, video: Tensor) -> None:
    moving = scenes.motion < 8
    assert score(read(video.flip(2)), scenes)["motion"][moving].sum() == 0
    assert score(read(video[:, :, :1].expand_as(video)), scenes)["motion"][moving].sum() == 0
    assert score(read(video[:, [1, 2, 0]]), scenes)["colour"].mean() == 0
    half = video[:, :, : FRAMES // 2 + 1].repeat_interleave(2, 2)  # half the way in the same time
    assert score(read(half), scenes)["speed"][moving].nansum() == 0
    assert (read(torch.zeros_like(video)).count == 0).all()


def test_another_shape_or_count_is_noticed(scenes: Scenes) -> None:
    other = dataclasses.replace(scenes, shape=(scenes.shape + 1) % 6)
    one = dataclasses.replace(scenes, count=scenes.count % 2 + 1)
    assert score(read(draw(other[:5], 5)), scenes[:5])["shape"].sum() == 0
    assert score(read(draw(one[:5], 5)), scenes[:5])["count"].sum() == 0


def test_components_are_those_that_touch() -> None:
    mask = torch.zeros(1, 6, 8, dtype=torch.bool)
    mask[0, 1, 1:4] = mask[0, 2, 4] = mask[0, 5, 5:] = True
    assert len(components(mask).unique()) == 3  # the backdrop, a bent bar, another bar
