"""What is sampled when a block begins: held keys, taps, the mouse, and which of two that exclude each other."""

import pytest

from mgcli.game.play.controls import TURN_PER_PIXEL, Controls
from wan.game.actions import Action
from wan.game.modes import CAM_VALUE, GTA_DRIVE, TEMPLERUN, UNIVERSAL


def sampled(controls: Controls, frames: int = 12) -> Action:
    return controls.sample(frames).action


def test_what_is_held_stays_and_a_tap_counts_once():
    controls = Controls(UNIVERSAL)
    controls.hold("W")
    controls.hold("WD")
    controls.hold("W")
    assert sampled(controls) == Action("WD")
    assert sampled(controls) == Action("W")
    controls.hold("")
    assert sampled(controls) == Action()


@pytest.mark.parametrize("pressed, keys", [("WS", "S"), ("SW", "W"), ("AWD", "WD"), ("DA", "A"), ("WASD", "SD")])
def test_the_later_of_two_that_exclude_each_other(pressed: str, keys: str):
    controls = Controls(UNIVERSAL)
    controls.hold(pressed)
    assert sampled(controls) == Action(keys)


def test_a_held_key_is_later_than_a_tap():
    controls = Controls(UNIVERSAL)
    controls.hold("W")
    controls.hold("")
    controls.hold("S")
    assert sampled(controls) == Action("S")


def test_one_action_at_a_time_in_templerun():
    controls = Controls(TEMPLERUN)
    controls.hold("DAW")
    controls.look(50, 50)
    assert sampled(controls) == Action("W")


def test_the_mouse_turns_up_and_right_within_limits():
    controls = Controls(UNIVERSAL)
    controls.look(6, 0)
    controls.look(6, -24)
    assert sampled(controls) == Action("", (2 * TURN_PER_PIXEL, TURN_PER_PIXEL))
    assert sampled(controls) == Action()
    controls.look(-9000, 9000)
    assert sampled(controls) == Action("", (-CAM_VALUE, -CAM_VALUE))


def test_camera_keys_and_mouse_add_up():
    controls = Controls(UNIVERSAL)
    controls.hold("WJ")
    controls.look(120, 0)
    assert sampled(controls) == Action("W", (0.0, -0.05))


def test_a_car_has_no_pitch():
    controls = Controls(GTA_DRIVE)
    controls.look(24, -500)
    assert sampled(controls) == Action("", (0.0, 0.01))


def test_the_mark_is_that_of_the_oldest_change():
    controls = Controls(UNIVERSAL)
    assert controls.sample(12).mark is None
    controls.hold("W", 1)
    controls.hold("WA", 2)
    controls.hold("WA", 3)
    assert controls.sample(12).mark == 1
    assert controls.sample(12).mark is None
    controls.hold("", 4)
    assert controls.sample(12).mark == 4


def test_forgetting_leaves_what_is_held():
    controls = Controls(UNIVERSAL)
    controls.hold("WA", 1)
    controls.hold("W", 2)
    controls.look(500, 0)
    controls.forget()
    sample = controls.sample(12)
    assert sample.action == Action("W") and sample.mark is None
