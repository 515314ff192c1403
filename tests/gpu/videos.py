"""Videos of A14B at its width, one after the other in one process: wherever the experts live, whatever came before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.gpu.doors import free, relative, same_tensor
from tests.gpu.leg import Failed, Setting, leg
from tests.gpu.programs import command
from wan.video.reader import read_frames
from wanmini.start_image import GARDEN, VALLEY

A, B = "A cat", "A cab and a face"
RESIDENCIES = ("both", "one", "stream", "disk")


@dataclass(frozen=True)
class Video:
    latents: Tensor
    frames: np.ndarray  # as read back from the file
    facts: dict[str, Any]


def made(task: str, output: Path, *flags: Any) -> list[Video]:
    """Videos of a command run in this process, read back from their files."""
    report = command("wan22", task, "--save_file", output, "--save_latents", *flags)
    free()
    return [read_back(facts) for facts in report["videos"]]


def read_back(facts: dict[str, Any]) -> Video:
    frames = np.stack(list(read_frames(facts["video"])))
    width, height = map(int, facts["size"].split("*"))
    if frames.shape != (facts["frames"], height, width, 3):
        raise Failed(f"{facts['video']} is {frames.shape}, not {facts['frames']} frames of {facts['size']}")
    latents = load_file(facts["latents"])["latents"]
    if not latents.isfinite().all():
        raise Failed(f"{facts['latents']} is not finite")
    return Video(latents, frames, facts)


def released(setting: Setting, name: str, *flags: Any, task: str = "t2v", steps: int = 4, prompt: str = A) -> Video:
    """One video of a release, seed 0; `name` is its file's."""
    return several(setting, name, "--prompt", prompt, *flags, task=task, steps=steps)[0]


def several(setting: Setting, name: str, *flags: Any, task: str = "t2v", steps: int = 4) -> list[Video]:
    output = setting.own("videos") / f"{name}.mp4"
    image = ["--image", VALLEY] if task == "i2v" and "--image" not in flags else []
    seed = [] if "--base_seed" in flags else ["--base_seed", 0]
    return made(task, output, "--ckpt_dir", setting.wan22(f"{task}-A14B"), *image, *seed, *setting.video(steps), *flags)


def same(got: Video, want: Video, what: str) -> None:
    same_tensor(got.latents, want.latents, f"{what}: latents", frames=2)
    same_tensor(torch.from_numpy(got.frames), torch.from_numpy(want.frames), f"{what}: pictures", frames=0)


def another(got: Video, want: Video, what: str) -> None:
    """Another shape is another video too: image to video takes that of its image."""
    if got.latents.shape == want.latents.shape and (apart := relative(got.latents, want.latents)) < 1e-3:
        raise Failed(f"{what}: the same video, {apart:.1e} apart")


def everywhere(setting: Setting, name: str, *flags: Any, task: str = "t2v", steps: int = 4) -> Video:
    """The same video from experts that live here or there; the last one is the first one again."""
    made = {
        (i, residency): released(
            setting, f"{name}_{i}_{residency}", "--residency", residency, *flags, task=task, steps=steps
        )
        for i, residency in enumerate((*RESIDENCIES, RESIDENCIES[0]))
    }
    first, *others = made
    for other in others:
        if made[other].facts["residency"] != other[1]:
            raise Failed(f"{made[other].facts['residency']} is not the residency asked for, {other[1]}")
        same(made[other], made[first], f"residency {other[1]} against {first[1]}")
    return made[first]


@leg(60, "release_t2v")
def t2v_residencies(setting: Setting) -> str:
    """wan22 t2v: experts both resident, one at a time or streamed make the same latents and pictures, bit for bit."""
    video = everywhere(setting, "t2v")
    return f"{len(video.frames)} frames of {video.facts['size']}"


@leg(60, "release_i2v")
def i2v_residencies(setting: Setting) -> str:
    """wan22 i2v: the same from experts that live anywhere, bit for bit; another image makes another video."""
    video = everywhere(setting, "i2v", task="i2v")
    another(released(setting, "i2v_garden", "--image", GARDEN, task="i2v"), video, "another image")
    return f"{len(video.frames)} frames of {video.facts['size']}"


@leg(60, "release_t2v")
def t2v_prompts(setting: Setting) -> str:
    """Two prompts of a file are each the video of its own run, bit for bit, with both experts resident and with one at a time;
    so is a prompt made again after another."""

    # the negative prompt is one of the two, so that the text encoder has the same batch to read each time: rows of another
    # batch may round otherwise
    def alone(name: str, prompt: str, seed: int) -> Video:
        return released(setting, name, "--n_prompt", B, "--base_seed", seed, prompt=prompt)

    first = alone("first", A, 0)
    another(alone("other", B, 0), first, "another prompt")
    same(alone("again", A, 0), first, "the first prompt again")
    files = {name: setting.own("videos") / f"{name}.txt" for name in ("ab", "ba")}
    for name, lines in (("ab", (A, B)), ("ba", (B, A))):
        files[name].write_text("\n".join(lines))
    for residency in ("both", "one"):
        flags = ("--n_prompt", B, "--residency", residency)
        front, back = (several(setting, f"{n}_{residency}", "--prompt_file", files[n], *flags) for n in files)
        same(front[0], first, f"the first of two prompts, residency {residency}")
        same(back[1], alone("second", A, 1), f"the second of two prompts, residency {residency}")
    return "prompt files and runs in a row"
