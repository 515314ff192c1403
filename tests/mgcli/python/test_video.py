"""A video from Python is that of the commands: the same frames, latents and record, from the same request."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import wan22
from mgcli import wan22_app
from mgcli.app.errors import run
from tests.tiny_checkpoints import write_wan22
from wan.video.reader import count_frames

TINY = {"size": "96*64", "any_size": True, "frame_num": 9, "sample_steps": 4, "device": "cpu", "base_seed": 3}
FLAGS = [
    text for name, value in TINY.items() for text in ([f"--{name}"] if value is True else [f"--{name}", str(value)])
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("wan22")
    return {kind: write_wan22(root / kind, kind) for kind in ("t2v", "i2v")}


def command(kind: str, folder: Path, tmp_path: Path, *flags: str) -> tuple[torch.Tensor, dict]:
    given = [*FLAGS, "--ckpt_dir", str(folder), "--save_file", str(tmp_path / "c.mp4"), "--save_latents", "--quiet"]
    assert run(wan22_app.app, [kind, *given, *flags]) == 0
    return load_file(tmp_path / "c.safetensors")["latents"], json.loads((tmp_path / "c.json").read_text())


def timeless(record: dict) -> dict:
    """What does not depend on when and where it was made."""
    return {k: v for k, v in record.items() if k not in ("seconds", "video", "latents", "peak_gib")} | {
        "request": {k: v for k, v in record["request"].items() if k not in ("save_file", "save_latents")}
    }


def test_it_is_the_video_of_the_command(folders, tmp_path):
    folder = folders["t2v"]
    steps = []
    half = {"accel": "recommended", "cfg_truncate_steps": 1, "sample_guide_scale": (2, 3.5)}
    video = wan22.generate("a cat", ckpt_dir=folder, on_step=steps.append, **TINY | half)
    assert video.frames.shape == (9, 64, 96, 3) and video.frames.dtype == np.uint8 and video.fps == 16
    assert [done.step.index for done in steps] == [0, 1, 2, 3] and video.seed == 3
    saved = video.save(tmp_path / "a.mp4", latents=True)
    flags = ["--accel", "recommended", "--cfg_truncate_steps", "1", "--sample_guide_scale", "2,3.5"]
    latents, record = command("t2v", folder, tmp_path, "--prompt", "a cat", *flags)
    assert torch.equal(video.latents, latents) and count_frames(saved) == 9
    assert timeless(json.loads((tmp_path / "a.json").read_text())) == timeless(record)
    assert json.loads(json.dumps(video.record, default=str)).keys() <= record.keys()
    assert torch.equal(load_file(tmp_path / "a.safetensors")["latents"], latents)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()


@pytest.mark.slow  # the command does it in test_videos.py
def test_a_record_makes_it_again(folders, tmp_path):
    first = wan22.generate("a cat", ckpt_dir=folders["t2v"], **TINY | {"base_seed": -1})
    first.save(tmp_path / "a.mp4")
    again = wan22.generate(config_path=tmp_path / "a.json")
    assert torch.equal(first.latents, again.latents)


def test_from_an_image(folders, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 100, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "start.png")
    latents, _ = command("i2v", folders["i2v"], tmp_path, "--prompt", "a cat", "--image", str(tmp_path / "start.png"))
    for image in (str(tmp_path / "start.png"), pixels):
        video = wan22.generate("a cat", image=image, ckpt_dir=folders["i2v"], **TINY)
        assert torch.equal(video.latents, latents)
    video.save(tmp_path / "a.mp4")
    assert np.array_equal(np.array(Image.open(tmp_path / "a_image.png")), pixels)
    again = wan22.generate("a cat", config_path=tmp_path / "a.json")
    assert torch.equal(again.latents, latents)


def test_a_run_step_by_step(folders):
    run = wan22.VideoRun("a cat", ckpt_dir=folders["t2v"], **TINY)
    assert len(run) == 4
    first = next(iter(run))
    assert first.step.expert == "high" and first.latents.shape == (1, 16, 3, 8, 12)
    assert [done.step.index for done in run] == [1, 2, 3]
    assert torch.equal(run.video.latents, wan22.generate("a cat", ckpt_dir=folders["t2v"], **TINY).latents)


def test_many_prompts_are_many_videos(folders):
    both = wan22.generate(["a cat", "a dog"], ckpt_dir=folders["t2v"], **TINY)
    alone = wan22.generate("a dog", ckpt_dir=folders["t2v"], **TINY | {"base_seed": 4})
    assert [video.seed for video in both] == [3, 4] and torch.equal(both[1].latents, alone.latents)
    assert np.array_equal(both[1].frames, alone.frames)
    with pytest.raises(ValueError, match="makes 2 videos"):
        wan22.VideoRun(["a", "b"], ckpt_dir=folders["t2v"], **TINY).video  # noqa: B018  asking is the test


def test_the_mini_without_a_checkpoint(tmp_path):
    video = wan22.generate("Two small red stars", sample_steps=2, frame_num=5)
    assert video.frames.shape == (5, 96, 160, 3)
    assert "<video" in video._repr_html_() and "5 frames of 160x96" in repr(video)


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        ({"sample_step": 20}, TypeError, "generate\\(\\) takes no 'sample_step'; did you mean 'sample_steps'"),
        ({"save_file": "a.mp4"}, TypeError, "save\\(\\) the video that it returns"),
        ({"sample_steps": "20"}, ValueError, "sample_steps: expected int .*got '20'"),
        ({"sample_steps": 0}, ValueError, "sample_steps 0 must be from 1"),
        ({"task": "i2v-A14B"}, ValueError, "needs an image"),
        ({"task": "t2v-A14B", "image": "a.png"}, ValueError, "is for i2v-A14B"),
        ({"task": "i2v-A14B", "size": "33*33"}, ValueError, "needs an image|multiples of 16"),
        ({"ckpt_dir": "gone", "size": "96*64"}, ValueError, "allow any \\(any_size\\)"),
    ],
)
def test_mistakes(settings, kind, sentence):
    with pytest.raises(kind, match=sentence):
        wan22.generate("a star", **settings)


def test_an_empty_prompt_and_none():
    with pytest.raises(ValueError, match="the prompt is empty"):
        wan22.generate(" ", sample_steps=1)
    with pytest.raises(ValueError, match="there is no prompt"):
        wan22.generate([], sample_steps=1)
