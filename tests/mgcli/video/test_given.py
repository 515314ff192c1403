"""`wan22 i2v` with more than a first frame: a last one, and a video to go on from."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

import wan22
from mgcli import wan22_app
from mgcli.app.errors import run
from tests.tiny_checkpoints import write_wan22
from wan.video.reader import read_frames
from wan.video.writer import VideoWriter
from wan22.config import Request
from wan22.plan import plan

TINY = "--size 96*64 --any_size --frame_num 17 --sample_steps 4 --device cpu --base_seed 3 --prompt cat".split()
I2V = Request(task="i2v-A14B", prompt="a cat", size="96*64", any_size=True, frame_num=17, sample_steps=4)


def noisy(seed: int, width: int = 96, height: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_wan22(tmp_path_factory.mktemp("wan22"), "i2v")


@pytest.fixture
def i2v(folder, tmp_path, capsys):
    """Runs `wan22 i2v` with images a.png, b.png, tall.png and the video in.mp4 -> code, JSON."""
    for i, (name, size) in enumerate({"a": (96, 64), "b": (96, 64), "tall": (64, 96)}.items()):
        Image.fromarray(noisy(i, *size)).save(tmp_path / f"{name}.png")
    (tmp_path / "text.mp4").write_text("no video at all" * 99)
    with VideoWriter(tmp_path / "in.mp4", 16) as writer:
        writer.write(np.stack([noisy(i) for i in range(7)]))

    def call(flags: str, *more: str):
        files = {"a.png", "b.png", "tall.png", "in.mp4", "gone.mp4", "text.mp4"}
        given = [str(tmp_path / word) if word in files else word for word in flags.split()]
        where = ["--ckpt_dir", str(folder), "--save_file", str(tmp_path / "out.mp4"), "--save_latents"]
        code = run(wan22_app.app, ["i2v", "--json", *TINY, *where, *given, *more])
        return code, json.loads(capsys.readouterr().out)

    return call


def test_a_last_frame_makes_another_video_and_its_record_makes_it_again(i2v, tmp_path):
    made = []
    for flags in ("", "--last_image b.png", "--config_path", "--last_image b.png --enable_half_frame_generation"):
        again = [str(tmp_path / "out-2.json")] if flags == "--config_path" else []
        code, data = i2v(f"--image a.png {flags}", *again)
        assert code == 0 and data["videos"][0]["frames"] == 17, data
        made.append(load_file(data["videos"][0]["latents"])["latents"].numpy().tobytes())
    assert made[1] == made[2] and len(set(made)) == 3


@pytest.mark.parametrize(("flags", "new"), [("", 12), ("--overlap 1", 16), ("--last_image b.png --frame_num 9", 4)])
def test_a_video_that_goes_on_holds_what_is_new(i2v, tmp_path, flags, new):
    code, data = i2v(f"--video in.mp4 {flags}")
    assert code == 0 and data["videos"][0]["frames"] == new, data
    assert len(list(read_frames(tmp_path / "out.mp4"))) == new
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["request"]["video"] == str(tmp_path / "in.mp4") and record["request"]["size"] == "96*64"
    assert load_file(tmp_path / "out.safetensors")["latents"].shape[2] == (new + record["request"]["overlap"] + 3) // 4


@pytest.mark.slow  # the command beside it makes the same videos
def test_from_python(i2v, folder, tmp_path):
    i2v("--image a.png --last_image b.png")
    settings = {"size": "96*64", "any_size": True, "frame_num": 17, "sample_steps": 4, "base_seed": 3}
    settings["ckpt_dir"] = folder
    ended = wan22.generate("cat", image=tmp_path / "a.png", last_image=noisy(1), **settings)
    assert ended.latents.equal(load_file(tmp_path / "out.safetensors")["latents"])
    on = wan22.generate("cat", video=tmp_path / "in.mp4", **settings)
    assert on.frames.shape == (12, 64, 96, 3)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--image a.png --video in.mp4", "--image and --video are both what the video begins with"),
        ("--last_image b.png", "i2v-A14B needs an image"),
        ("--image a.png --last_image tall.png", "the last frame is 64x96 and the first 96x64: crop them to one shape"),
        ("--image a.png --last_image b.png --frame_num 16", "nearest is 17"),
        ("--image a.png --last_image b.png --frame_num 1", "4n+1 frames, 5 or more; nearest is 5"),
        ("--video in.mp4 --overlap 4", "overlap 4: a video goes on from 4n+1 frames"),
        ("--video in.mp4 --frame_num 5", "less than its own 5"),
        ("--video in.mp4 --overlap 9", "has 7 frames, fewer than the 9 to go on from"),
        ("--video a.png --overlap 5", "fewer than the 5|not a video"),
        ("--video gone.mp4", "no such file"),
        ("--video text.mp4", "is not a video that can be read"),
    ],
)
def test_mistakes(i2v, flags, sentence):
    code, data = i2v(flags)
    assert code == 2 and any(part in data["error"] for part in sentence.split("|")), data


def test_they_are_for_image_to_video():
    with pytest.raises(ValueError, match="last_image is for i2v-A14B, not t2v-A14B"):
        Request(prompt="a cat", last_image=Path("b.png")).resolved()


def test_the_plan_gives_half_frames_the_ends_that_are_given():
    half = replace(I2V, enable_half_frame_generation=True)
    ended, on = replace(half, last_image=Path("b.png")), replace(half, video=Path("in.mp4"))
    assert plan(half)[0].condition_frames == (0, 1, 2)  # as always: nothing is given but the first
    assert plan(ended)[0].condition_frames == plan(on)[0].condition_frames == (0, 2, 4)
    assert plan(replace(ended, frame_num=13))[0].condition_frames == (0, 3)
    assert plan(replace(ended, frame_num=5))[0].condition_frames == (0,)
    assert {step.condition_frames for step in plan(ended) if step.expert == "low"} == {(0, 1, 2, 3, 4)}


def test_the_plan_says_what_is_given(capsys):
    flags = [*TINY, "--task", "i2v-A14B", "--video", "in.mp4", "--last_image", "b.png"]
    assert run(wan22_app.app, ["plan", *flags]) == 0
    assert "; the first 5 are the last of in.mp4; the last is b.png" in capsys.readouterr().out
