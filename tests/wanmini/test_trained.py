"""The trained minis do what they are for, at a small sample: floors that a working model clears by far, not its quality.

How good they are is what `python -m wanmini.judge` says.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wan.game.conditions import image_tensor, open_image
from wanmini import judge, judge_scenes, sizes, weights
from wanmini.scenes.attributes import MOTIONS
from wanmini.start_image import FOLDER, GARDEN

FRAMES = 21  # two blocks
PROMPTS = {
    "right": "A large yellow circle moves quickly to the right on a grey background.",
    "left": "A large blue square slides fast to the left on a white background.",
}


@pytest.fixture(scope="module")
def clips() -> dict[str, Tensor]:
    """A walk, a turn to each side and a rest in the garden, as a batch; each (3, t, h, w)."""
    keyboard, mouse = torch.zeros(4, FRAMES, 4), torch.zeros(4, FRAMES, 2)
    keyboard[0, :, 0] = 1
    mouse[1, :, 1], mouse[2, :, 1] = 0.1, -0.1
    image = image_tensor(open_image(GARDEN), sizes.HEIGHT, sizes.WIDTH)
    made = judge.by_rollout(weights.mini_world())(image.expand(4, -1, -1, -1), keyboard, mouse)
    return dict(zip(("walk", "right", "left", "rest"), made))


def test_standing_still_is_still_and_walking_is_not(clips: dict[str, Tensor]) -> None:
    change = {name: (clip[:, 0] - clip[:, -1]).square().mean().item() for name, clip in clips.items()}
    assert change["rest"] < 0.02  # measured 0.005, the others 0.15 and more
    assert all(change[name] > 3 * change["rest"] for name in ("walk", "right", "left"))


def test_a_turn_moves_the_picture_the_other_way(clips: dict[str, Tensor]) -> None:
    assert shift(clips["right"]) < -20 and shift(clips["left"]) > 20  # measured 40 and 44 pixels


def shift(clip: Tensor) -> int:
    """By how many pixels to the right the picture moved in 8 frames: where the two overlap best."""
    before, after, width = clip[:, 0], clip[:, 8], clip.shape[-1]

    def error(pixels: int) -> float:
        right = after[..., max(0, pixels) : width + min(0, pixels)]
        left = before[..., max(0, -pixels) : width + min(0, -pixels)]
        return (right - left).square().mean().item()

    return min(range(-60, 61, 4), key=error)


def test_a_prompts_clip_moves_as_the_prompt_says() -> None:
    # half of the usual steps: enough for motion
    videos = [judge.scene_video(prompt, seed, sample_steps=10) for seed, prompt in enumerate(PROMPTS.values())]
    made = judge.make_clips(weights.SCENES, videos, "cpu")
    shown = [MOTIONS[int(judge_scenes.read(judge.as_video(frames)).motion)] for _, frames in made]
    assert shown == list(PROMPTS)


def test_every_start_image_is_of_the_worlds_size() -> None:
    stills = sorted(FOLDER.glob("*.png"))
    assert {open_image(path).size for path in stills} == {(sizes.WIDTH, sizes.HEIGHT)} and GARDEN in stills
