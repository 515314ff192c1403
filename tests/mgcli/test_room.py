"""What cannot fit this machine is refused before anything is loaded, on a CPU too, with the nearest that fits."""

import re

import pytest
import torch

from mgcli import mg, wan22_app
from mgcli.app.errors import run
from mgcli.game import worlds
from tests.bench.make_random_release import write_release
from wan import device
from wan.config import UNIVERSAL
from wan.game.memory import kept_bytes
from wan.game.rollout import Sampling
from wan22 import memory
from wanmini.random_world import random_world
from wanmini.weights import SCENES

MB = 2**20


@pytest.fixture(autouse=True)
def small_machine(monkeypatch, tmp_path):
    """With nothing that could be loaded."""
    monkeypatch.chdir(tmp_path)
    for module in (device, memory):
        monkeypatch.setattr(module, "host_available", lambda: 64 * MB)
    monkeypatch.setattr(worlds, "_load", None)
    monkeypatch.setattr(worlds, "_embedded", None)


def refused(capsys, program, *given) -> str:
    assert run(program, [*given, "--device", "cpu"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


@pytest.mark.parametrize(
    ("flags", "near"),
    [
        (["--height", "1024", "--width", "1024"], r"nearest is \d+x\d+ \(--height\)"),
        (["--batch", "60"], r"\d worlds fit \(--batch\)"),
        (["--local_attn_size", "1000"], r"nearest is \d+x\d+ \(--height\)"),
        (
            ["--height", "16384", "--width", "16384"],
            r"more than the 1,048,576 that any GPU has room for; nearest is \d+x\d+",
        ),
        (["--mode", "gta_drive", "--height", "2048", "--width", "2048"], "nearest is"),
    ],
)
def test_worlds(capsys, flags, near):
    said = refused(capsys, mg.app, "generate", "--num_output_frames", "3", *flags)
    assert re.search(near, said), said


def test_what_is_said_to_fit_fits(capsys):
    near = re.search(r"(\d+)x(\d+) \(", refused(capsys, mg.app, "generate", "--height", "1024", "--width", "640"))
    with pytest.raises(TypeError, match="NoneType"):  # it goes on to what would load the models
        worlds.open_models(worlds_request(*map(int, near.groups())))


def worlds_request(height, width):
    from mgcli.game.request import GenerateRequest, game_request

    return game_request(GenerateRequest, {"height": height, "width": width, "device": "cpu"})


def test_a_model_of_ones_own_may_be_smaller(tmp_path, monkeypatch):
    """The released one of this mode would not fit, and that is not what is in the file."""
    from mgcli.game.request import GenerateRequest, game_request

    checkpoint = write_release(tmp_path, "universal", small=True)
    given = {"checkpoint_path": str(checkpoint), "height": 64, "width": 96, "device": "cpu", "mode": "universal"}
    assert kept_bytes(UNIVERSAL, 1, 64, 96, 3, torch.float32) > 10 * MB
    monkeypatch.setattr(device, "host_available", lambda: 10 * MB)
    with pytest.raises(TypeError, match="NoneType"):
        worlds.open_models(game_request(GenerateRequest, given))


def test_what_is_counted_is_what_a_world_keeps():
    models = random_world()
    from PIL import Image

    world = models.start([Image.new("RGB", (64, 64))] * 2, [0, 1], Sampling(), 32, 48)
    kept = sum(tensor.nbytes for tensor in world.lease.cache.tensors().values())
    assert kept == kept_bytes(models.causal.config, 2, 32, 48, 3, torch.float32)


def test_a_video(capsys):
    given = "t2v --any_size --size 1024*1024 --frame_num 401 --sample_steps 4".split()
    said = refused(capsys, wan22_app.app, *given, "--ckpt_dir", str(SCENES), "--prompt", "a small red star")
    assert re.search(
        r"for 401 frames of this size, .* enough for \d+ frames \(--frame_num \d+, --size\)",
        said,
    ), said
