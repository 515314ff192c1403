"""A world from Python is that of the commands: the same frames, latents and records, also beside another one and the second time."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import mgcli
from mgcli.app.errors import run
from mgcli.mg import app
from wan.video.reader import count_frames
from wanmini.start_image import VALLEY

SMALL = {"height": 32, "width": 48}
FLAGS = ["--height", "32", "--width", "48"]


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """`mg generate` of 33 frames -> latents, and the seed that made them."""
    video = tmp_path_factory.mktemp("command") / "a.mp4"
    flags = ["--actions", "W*9 A*12 WL*12", "--seed", "3", "--save_latents", "--output", str(video), "--quiet"]
    assert run(app, ["generate", *FLAGS, *flags]) == 0
    return load_file(video.with_name("a_latents.safetensors"))["latents"]


@pytest.fixture(scope="module")
def loaded():
    with mgcli.World(**SMALL) as world:
        yield world


@pytest.fixture
def world(loaded):
    with loaded.another(seed=3) as world:
        yield world


def test_it_is_the_world_of_the_command(world, walked):
    made = [world.step("W"), *world.walk("A*12 WL*12")]
    assert [frames.shape for frames in made] == [(9, 32, 48, 3), (12, 32, 48, 3), (12, 32, 48, 3)]
    assert made[0].dtype == np.uint8 and (world.block, world.frame) == (3, 33)
    assert torch.equal(world.latents, walked)
    assert np.array_equal(world.frames, np.concatenate(made))


def test_two_worlds_at_once_and_one_after_the_other(world, walked):
    other, apart = world.another(seed=4), mgcli.World(seed=3, **SMALL)
    for action in ("W", "A", "WL"):
        for each in (world, other, apart):
            each.step(action)
    assert torch.equal(world.latents, walked) and torch.equal(apart.latents, walked)
    assert not torch.equal(other.latents, walked)
    other.restart(seed=3)
    assert other.frame == 0 and len(list(other.walk("W*9 A*12 WL*12"))) == 3
    assert torch.equal(other.latents, walked)


def test_what_is_saved_replays(world, walked, tmp_path):
    for _ in world.walk("W*9 A*12 WL*12"):
        pass
    video = world.save(tmp_path / "walk.mp4", latents=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["walk.json", "walk.mp4", "walk_icon.mp4", "walk_latents.safetensors"]  # fmt: skip
    assert (
        count_frames(video) == 33 and json.loads(video.with_suffix(".json").read_text())["actions"] == "W*9 A*12 WL*12"
    )
    flags = ["--script", str(tmp_path / "walk.json"), "--output", str(tmp_path / "b.mp4"), "--save_latents"]
    assert run(app, ["stream", "--quiet", *flags]) == 0
    assert torch.equal(load_file(tmp_path / "b_latents.safetensors")["latents"], walked)


def test_a_name_that_is_taken(world, tmp_path, caplog):
    world.step("Q")
    for overwrite, name in ((False, "a"), (False, "a-2"), (True, "a")):
        assert world.save(tmp_path / "a.mp4", overwrite=overwrite) == tmp_path / f"{name}.mp4"


def test_a_saved_world_goes_on(world, walked, tmp_path):
    world.step("W")
    world.save_state(tmp_path / "here.safetensors")
    again = mgcli.World.load_state(tmp_path / "here.safetensors", **SMALL)
    assert (again.seed, again.frame, again.block) == (3, 9, 1)
    for frames in again.walk("A*12 WL*12"):
        assert len(frames) == 12
    assert torch.equal(again.latents, walked[:, :, 3:])
    record = json.loads(again.save(tmp_path / "rest.mp4").with_suffix(".json").read_text())
    assert record["request"]["load_state"] == str(tmp_path / "here.safetensors")


def test_an_image_may_be_in_memory(loaded, tmp_path):
    image, name = Image.open(VALLEY).convert("RGB").resize((64, 48)), tmp_path / "valley.png"
    image.save(name)
    made = []
    for given in (name, str(name), image, np.array(image)):
        world = loaded.another(given, seed=1)
        made.append(world.step("W"))
    assert all(np.array_equal(made[0], other) for other in made[1:])
    world.restart()
    assert np.array_equal(world.step("W"), made[0])
    world.save(tmp_path / "a.mp4")
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["image"] == str(tmp_path / "a_image.png") and (tmp_path / "a_image.png").is_file()
    with pytest.raises(ValueError, match="float64 .* give uint8"):
        loaded.another(np.zeros((32, 48, 3)))


def test_the_random_walk(world):
    command = world.another(seed=3)
    for _ in world.walk("random", blocks=2):
        pass
    walk = command.walk("random")
    next(walk), next(walk)
    assert torch.equal(world.latents, command.latents)


def test_actions_of_a_part_and_held_ones(world):
    other = world.another(seed=3)
    a, b = world.step("W*3 L"), next(other.walk("W*3 L*4", blocks=1))
    assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda w: w.step("W*24"), ValueError, "'W\\*24' is 24 frames, the next block has 9: walk"),
        (lambda w: w.step("X"), ValueError, "'X' is not a key of mode universal"),
        (lambda w: w.walk("W*"), ValueError, "cannot read 'W\\*'"),
        (lambda w: w.walk("gone.txt"), ValueError, "no action file gone.txt"),
        (lambda w: w.save("a.mp4"), ValueError, "makes its first block with step"),
        (lambda w: w.save("a.avi"), ValueError, "no frames to be had|not an .mp4"),
        (lambda w: mgcli.World(hieght=32), TypeError, "World\\(\\) takes no 'hieght'; did you mean 'height'"),
        (lambda w: mgcli.World(actions="W"), TypeError, "step\\(\\) and walk\\(\\) take them"),
        (lambda w: mgcli.World(height=33), ValueError, "height 33 is no multiple of 16"),
        (lambda w: mgcli.World(mode="gta"), ValueError, "mode: expected one of 'universal'"),
        (lambda w: w.another(seed=2**63), ValueError, "seed 2\\*\\*63 or more must be from"),
        (lambda w: w.another(seed=1.5), TypeError, "integer"),
        (lambda w: w.another(7), TypeError, "a PIL image or an array, not int"),
        (lambda w: w.step(1), TypeError, 'such as "W" or "WL", not 1'),
        (lambda w: mgcli.World("gone.png"), FileNotFoundError, "gone.png"),
    ],
)
def test_mistakes(world, call, kind, sentence):
    with pytest.raises(kind, match=sentence):
        call(world)


def test_a_closed_world_saves_and_does_no_more(world, tmp_path):
    world.step("W")
    world.close()
    world.close()
    assert count_frames(world.save(tmp_path / "a.mp4")) == 9
    for call in (lambda: world.step("W"), lambda: world.walk("W"), world.restart, world.another):
        with pytest.raises(ValueError, match="this world is closed"):
            call()


def test_a_world_that_keeps_nothing(loaded):
    world = loaded.another(keep=False)
    assert len(world.step("W")) == 9
    with pytest.raises(ValueError, match="keep=False"):
        world.save("a.mp4")
