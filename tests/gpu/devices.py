"""The second GPU of a machine: what was asked of it happens there and nowhere else, and is what the first one makes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from safetensors.torch import load_file

from tests.gpu.doors import memory, opened, played, same, same_tensor
from tests.gpu.leg import Failed, Setting, Skipped, leg
from tests.gpu.programs import command
from tests.gpu.video_ways import clip
from tests.gpu.videos import same as same_video


@leg(60, "release_game")
def second_gpu_worlds(setting: Setting) -> str:
    """--device cuda:1, mg generate and two released worlds in a row: byte for byte what cuda:0 makes, and nothing on cuda:0."""
    first, second = devices(setting)

    def worlds(device: str):
        models, request = opened(setting, device=device)
        made = played(models, request), played(models, request)
        same(made[1], made[0], f"the second world on {device}")
        return made[1]

    there = untouched(setting, lambda: (generated(setting, second, "second"), worlds(second)))
    here = generated(setting, first, "first"), worlds(first)
    same_tensor(there[0], here[0], "latents of mg generate", frames=2)
    same(there[1], here[1], "a released world")
    return f"{second} against {first}"


@leg(30)
def second_gpu_video(setting: Setting) -> str:
    """--device cuda:1, wan22 t2v of the mini: byte for byte what cuda:0 makes, and nothing on cuda:0."""
    first, second = devices(setting)
    there = untouched(setting, lambda: clip(setting, "second_gpu", "--device", second))
    same_video(there, clip(setting, "first_gpu", "--device", first), "a clip")
    return f"{second} against {first}"


def devices(setting: Setting) -> tuple[str, str]:
    """A rehearsal goes through the motions on its CPU."""
    if setting.rehearse:
        return "cpu", "cpu"
    if (count := torch.cuda.device_count()) < 2:
        raise Skipped(f"needs two GPUs, this machine has {count}")
    return "cuda:0", "cuda:1"


def untouched(setting: Setting, make: Callable):
    """What was made, when nothing of it was on the first GPU."""
    made = make()
    if not setting.rehearse and (torch.cuda.max_memory_allocated(0) or any(memory(0))):
        raise Failed(f"cuda:0 held {torch.cuda.max_memory_allocated(0)} bytes")
    return made


def generated(setting: Setting, device: str, name: str) -> torch.Tensor:
    """Latents of a mini world by the command."""
    output = setting.own("second_gpu_worlds") / f"{name}.mp4"
    asked = ("--device", device, "--output", output, "--save_latents", "--num_output_frames", 12)
    [files] = command("mg", "generate", "--actions", "random", *asked)["outputs"]
    return load_file(files["latents"])["latents"]
