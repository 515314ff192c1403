"""What may be imported by name, once and for all, and what that costs."""

import dataclasses
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import mgcli
import wan22
from mgcli.game.request import GameRequest
from mgcli.python import video, world
from mgcli.python.settings import VideoSettings, WorldSettings
from mgcli.video.request import Wan22Request

gym = pytest.importorskip("mgcli.gym", exc_type=ImportError)  # the extra, which make setup installs
PUBLIC = {mgcli: ["World"], gym: ["WorldEnv", "WorldVectorEnv"], wan22: ["MadeVideo", "VideoRun", "generate"]}
METHODS = {
    mgcli.World: [
        "another",
        "close",
        "frames",
        "image",
        "latents",
        "load_state",
        "restart",
        "save",
        "save_state",
        "step",
        "walk",
    ],
    wan22.VideoRun: ["video", "videos"],
    wan22.MadeVideo: ["record", "save", "seed"],
}
PACKAGES = ("mgcli", "wan", "wan22", "wanmini")


@pytest.mark.parametrize("module", PUBLIC, ids=lambda m: m.__name__)
def test_the_public_names(module):
    assert module.__all__ == PUBLIC[module] and set(PUBLIC[module]) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'Wrold'"):
        module.Wrold  # noqa: B018  asking is the test


@pytest.mark.parametrize("cls", METHODS, ids=lambda c: c.__name__)
def test_what_they_do(cls):
    assert [name for name in sorted(vars(cls)) if not name.startswith("_")] == METHODS[cls]


def test_importing_costs_nothing():
    heavy = "{'torch', 'numpy', 'typer', 'rich', 'yaml'} & sys.modules.keys()"
    code = f"import sys, mgcli, wan22; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(mgcli.__file__).parents[1])


def test_a_library_says_nothing():
    """In a process of its own: the commands' tests of this one have sent the log to the console."""
    world, video = "mgcli.World(height=32, width=48).step('W')", "wan22.generate('a star', sample_steps=1, frame_num=5)"
    code = f"import mgcli, wan22; {world}; {video}"
    root = Path(mgcli.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_field_of_a_request_is_a_keyword():
    """Those that the calls decide in another way have a sentence that says how."""
    own = {"prompt", "image", "last_image", "seed"}
    wanted = {f.name for f in dataclasses.fields(Wan22Request)} - own - video.ELSEWHERE.keys()
    assert set(VideoSettings.__annotations__) == wanted | {"accel"}
    wanted = {f.name for f in dataclasses.fields(GameRequest)} - own - world.ELSEWHERE.keys()
    assert set(WorldSettings.__annotations__) == wanted


@pytest.mark.parametrize(("settings", "request_class"), [(VideoSettings, Wan22Request), (WorldSettings, GameRequest)])
def test_their_choices_are_the_requests(settings, request_class):
    ours, theirs = typing.get_type_hints(settings), typing.get_type_hints(request_class)
    listed = {name: words(hint) for name, hint in ours.items() if words(hint) and name != "accel"}
    assert listed == {name: words(theirs[name]) for name in listed}
    assert not {name for name in ours if name not in listed and words(theirs.get(name))}


def words(hint: object) -> set[str]:
    """Of all Literals in it."""
    inside = set().union(*(words(part) for part in typing.get_args(hint) if not isinstance(part, str)))
    return set(typing.get_args(hint)) if typing.get_origin(hint) is typing.Literal else inside


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_say_that_they_are_typed(package):
    assert (Path(mgcli.__file__).parents[1] / package / "py.typed").is_file()
