"""Worlds that follow each other in one process, at the released size and with default flags, graphs included."""

from __future__ import annotations

import gc
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.gpu.doors import IMAGES, another, free, memory, opened, played, same, same_tensor
from tests.gpu.leg import Failed, Setting, leg
from tests.gpu.programs import command
from wanmini.start_image import GARDEN, VALLEY

SETTLED = 3  # worlds after which memory stays what it is


@leg(90, "release_game")
def worlds_in_a_row(setting: Setting) -> str:
    """Every world of a process is the first one, bit for bit; other seeds and images are not; graphs change nothing; memory
    does not grow."""
    models, request = opened(setting)
    first = played(models, request)
    another(played(models, request, seeds=(1,)), first, "another seed")
    another(played(models, request, images=(VALLEY,)), first, "another image")
    held = {}
    for number in range(2, setting.worlds + 1):
        same(played(models, request), first, f"world {number}")
        gc.collect()
        held[number] = memory()
    if held[SETTLED] != held[setting.worlds]:
        raise Failed(
            f"bytes allocated and reserved after world {SETTLED}: {held[SETTLED]}, after the last: {held[setting.worlds]}"
        )
    del models
    free()
    models, request = opened(setting, graphs=False)
    same(played(models, request), first, "without graphs")
    same(played(models, request), first, "without graphs, the second world")
    return f"{setting.worlds} worlds, {held[SETTLED][0] / 2**30:.1f} GiB allocated, {held[SETTLED][1] / 2**30:.1f} reserved"


@leg(50, "release_game")
def worlds_in_a_batch(setting: Setting) -> str:
    """A batch of two repeats itself bit for bit, before and after a single world, a restart and new images."""
    models, request = opened(setting)
    alone = played(models, request)
    both = played(models, request, IMAGES, (0, 1))
    same(played(models, request, IMAGES, (0, 1)), both, "the batch, restarted")
    same(played(models, request), alone, "a single world after a batch")
    exchanged = played(models, request, IMAGES[::-1], (0, 1))
    another(exchanged, both, "exchanged images")
    same(played(models, request, IMAGES[::-1], (0, 1)), exchanged, "exchanged images, restarted")
    same(played(models, request, IMAGES, (0, 1)), both, "the first images again")
    return "2 worlds at once"


@leg(40, "release_game")
def sizes_in_turns(setting: Setting) -> str:
    """Videos of two sizes in turns from the same models are each the same every time, bit for bit."""
    models, request = opened(setting)
    sizes = (setting.game_size, setting.other_size)
    first = [played(models, request, size=size) for size in sizes]
    for size, want in zip(sizes, first):
        same(played(models, request, size=size), want, f"{size[0]}x{size[1]} again")
    return " and ".join(f"{height}x{width}" for height, width in sizes)


@leg(50, "release_game")
def saved_and_loaded(setting: Setting) -> str:
    """A world saved by mg stream and loaded into models opened anew goes on exactly as the one that was never saved."""
    folder = setting.own("saved_and_loaded")
    whole = streamed(setting, folder / "whole.mp4", 6)
    half = streamed(setting, folder / "half.mp4", 3, "--save_state", folder / "state.safetensors")
    rest = streamed(setting, folder / "rest.mp4", 3, "--load_state", folder / "state.safetensors")
    same_tensor(half, whole[:, :, : half.shape[2]], "before the save point, latents", frames=2)
    same_tensor(rest, whole[:, :, half.shape[2] :], "after it, latents", frames=2)
    return f"{(folder / 'state.safetensors').stat().st_size / 2**20:.0f} MiB"


def streamed(setting: Setting, output: Path, blocks: int, *flags: object) -> torch.Tensor:
    height, width = setting.game_size
    script = ("--script", "W*21 WL*12 S*24 J*24", "--image", GARDEN, "--max_num_output_frames", 3 * blocks)
    size = ("--height", height, "--width", width, "--checkpoint_path", setting.checkpoint("universal"))
    report = command("mg", "stream", *script, *size, "--output", output, "--save_latents", *flags)
    [take] = report["takes"]
    free()
    return load_file(take["latents"])["latents"]
