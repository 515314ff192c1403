"""The overlay: shows what is held and where the camera turns, on any size, and touches nothing else."""

import numpy as np
import pytest

from wan.game.actions import action
from wan.game.modes import GTA_DRIVE, MODES, TEMPLERUN, UNIVERSAL
from wan.game.overlay import LIT, Overlay

GREY = np.full((1, 96, 160, 3), 128, np.uint8)


def lit(frame: np.ndarray) -> np.ndarray:
    """Where the colour of held keys is."""
    return (np.abs(frame.astype(int) - LIT[:3]).sum(-1)) < 40


@pytest.mark.parametrize("mode", MODES.values(), ids=lambda m: m.name)
@pytest.mark.parametrize("size", [(16, 32), (96, 160), (352, 640), (640, 352)])
def test_only_held_keys_are_lit_at_any_size(mode, size):
    overlay, video = Overlay(mode, *size), np.full((2, *size, 3), 90, np.uint8)
    idle, held = overlay.draw(video, [action(mode, "Q"), action(mode, "W")])
    assert not lit(idle).any()
    if size != (16, 32):
        assert lit(held).any()
    assert (video == 90).all(), "it draws on a copy"
    assert (idle[: size[0] // 4] == 90).all() or size == (16, 32)


def test_the_camera_dot_leans_where_the_view_turns():
    overlay = Overlay(UNIVERSAL, 96, 160)
    where = {}
    for letter in "JLIK":
        frame = overlay.draw(GREY, [action(UNIVERSAL, letter)])[0]
        rows, columns = np.nonzero(lit(frame))
        where[letter] = rows.mean(), columns.mean()
    assert where["J"][1] < where["L"][1] and where["I"][0] < where["K"][0]


def test_steering_lights_its_keys_and_actions_of_the_runner_have_words():
    drive = Overlay(GTA_DRIVE, 96, 160)
    left, right = (lit(drive.draw(GREY, [action(GTA_DRIVE, k)])[0]) for k in "AD")
    assert np.nonzero(left)[1].mean() < np.nonzero(right)[1].mean()
    runner = Overlay(TEMPLERUN, 96, 160)
    jump, idle = (runner.draw(GREY, [action(TEMPLERUN, k)])[0] for k in "WQ")
    assert (jump[:, 100:] != 128).any() and (idle[:, 100:] == 128).all()
