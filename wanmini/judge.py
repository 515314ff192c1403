"""Judge both minis: `python -m wanmini.judge [--quick] [--json] [--only vae|world|scenes] [--weights FOLDER]`.

Everything is made the way a user makes it, by the rollout and the pipeline that the commands drive. --quick takes
samples that fit in a minute on two cores; without it the samples are those the README's numbers come from. Ends with
exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wan.fast.speed import Speed
from wan.files.checkpoint import find_in, load_vae
from wan.game.actions import Action
from wan.game.models import GameModels
from wan.game.rollout import Sampling
from wan22.config import TASKS, Request
from wan22.generation import Generation
from wan22.parts import Parts
from wan22.places import find_places
from wan22.plan import PlannedVideo, planned
from wanmini import judge_scenes, judge_world, sizes, weights
from wanmini.clips import HELD_OUT, SceneSource, WorldSource
from wanmini.judge_world import QUICK, Extent, Generate
from wanmini.scenes import Scenes, captions
from wanmini.training import psnr

SIZE = (sizes.HEIGHT, sizes.WIDTH)
VAE_FRAMES = 45
VAE_BAR = 28.0  # dB
SCENE_BARS = {"shape": 0.95, "colour": 0.95, "motion": 0.95, "speed": 0.85}


@dataclass(frozen=True)
class Samples:
    """How much of each is judged."""

    vae_clips: int = 16
    world: Extent = Extent()
    prompts: int = 100


QUICK_SAMPLES = Samples(vae_clips=1, world=QUICK, prompts=3)


def judge_vaes(folder: Path, clips: int, device: str) -> dict[str, float]:
    """Each mini's VAE on what that mini shows; the ceiling of everything else. The bar is that of the walks."""
    walks = WorldSource(HELD_OUT, torch.device(device), SIZE, at_once=clips)
    scenes = SceneSource(HELD_OUT, torch.device(device), SIZE)
    return {
        "vae_db": _vae_db(folder / "world", device, (walks.draw(1, VAE_FRAMES).video for _ in range(clips))),
        "scenes_vae_db": _vae_db(
            folder / "scenes", device, (scenes.draw(1, sizes.SCENE_FRAMES)[0] for _ in range(clips))
        ),
    }


@torch.no_grad()
def _vae_db(folder: Path, device: str, videos: Iterator[Tensor]) -> float:
    """Encoded and decoded as the commands do it, a few frames at a time."""
    vae = load_vae(find_in(folder, "vae")["vae"], device=device, dtype=torch.float32)
    return torch.cat([psnr(vae.decode(vae.encode(video)).clamp(-1, 1), video) for video in videos]).mean().item()


def by_rollout(models: GameModels, sampling: Sampling = weights.SAMPLING) -> Generate:
    """The rollout of `mg generate` as the world judge wants it; all clips are one batch."""

    def generate(images: Tensor, keyboard: Tensor, mouse: Tensor) -> Tensor:
        pictures = [_picture(image) for image in images]
        world = models.start(pictures, range(len(images)), sampling, *SIZE)
        actions = [[_action(models, k, m) for k, m in zip(*row)] for row in zip(keyboard.tolist(), mouse.tolist())]
        parts = []
        while world.span.frames.start < keyboard.shape[1]:
            block = world.generate([row[world.span.frames.start : world.span.frames.stop] for row in actions])
            parts.append(block.video.cpu())
            world.commit()
        return torch.cat(parts, 1).permute(0, 4, 1, 2, 3).float() / 127.5 - 1

    return generate


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


def _action(models: GameModels, keyboard: Sequence[float], mouse: Sequence[float]) -> Action:
    letters = {key.column: key.letter for key in models.mode.keys if key.column is not None}
    return Action("".join(letters[i] for i, held in enumerate(keyboard) if held), (mouse[0], mouse[1]))


def scene_video(prompt: str, seed: int, **flags: Any) -> PlannedVideo:
    """A clip of the size and length the mini makes; `flags` are a Request's."""
    given: dict[str, Any] = {**sizes.SCENE, "prompt": prompt, "base_seed": seed, **flags}
    return planned(Request(**given))


def make_clips(
    folder: Path, videos: Sequence[PlannedVideo], device: str, speed: Speed | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Every video's clip, uint8 (F, H, W, 3), by the pipeline of `wan22 t2v`, and the seconds its denoising took."""
    task = TASKS["t2v-A14B"]
    generation = Generation(Parts(find_places(folder, task), task, device, torch.float32, speed=speed), videos, "both")
    for i, done in generation.steps(warm_up=True):
        if done.step is videos[i].steps[-1]:
            seconds = sum(generation.seconds[i][expert] for expert in ("high", "low"))
            yield seconds, np.concatenate(list(generation.frames(i)))


def as_video(frames: np.ndarray) -> Tensor:
    """uint8 (F, H, W, 3) as the judges of pixels want it: (1, 3, F, H, W) in [-1, 1]."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def judge_prompts(folder: Path, count: int, device: str) -> dict[str, float]:
    """Shares of held-out prompts whose clip shows what they say."""
    scenes = Scenes.sample(torch.arange(HELD_OUT, HELD_OUT + count), held_out=True)
    videos = [scene_video(text, seed) for seed, text in enumerate(captions(scenes, held_out=True))]
    clips = (as_video(frames) for _, frames in make_clips(folder, videos, device))
    scores = [judge_scenes.score(judge_scenes.read(clip), scenes[i : i + 1]) for i, clip in enumerate(clips)]
    return {name: torch.cat([score[name] for score in scores]).nanmean().item() for name in scores[0]}


def judge(folder: Path, samples: Samples, only: str | None, device: str, sampling: Sampling) -> dict[str, float]:
    found: dict[str, float] = {}
    if only in (None, "vae"):
        found |= judge_vaes(folder, samples.vae_clips, device)
    if only in (None, "world"):
        models = weights.mini_world(device, folder=folder / "world")
        found |= judge_world.judge(by_rollout(models, sampling), samples.world, SIZE)
    if only in (None, "scenes"):
        found |= judge_prompts(folder / "scenes", samples.prompts, device)
    return found


def verdict(found: dict[str, float]) -> dict[str, bool]:
    """Every bar whose measurement was made, and whether it is met."""
    met = {"vae_db": found["vae_db"] >= VAE_BAR} if "vae_db" in found else {}
    met |= judge_world.verdict(found) if "turn_right" in found else {}
    return met | {name: found[name] >= bar for name, bar in SCENE_BARS.items() if name in found}


def report(found: dict[str, float], met: dict[str, bool], seconds: float) -> str:
    marks = {True: "met", False: "MISSED", None: ""}
    rows = [f"{name:24} {value:8.3f}  {marks[met.get(name)]}" for name, value in found.items()]
    return "\n".join([*rows, f"{sum(met.values())} of {len(met)} bars met, {seconds:.0f} s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="one object: what was measured and which bars were met")
    parser.add_argument("--only", choices=("vae", "world", "scenes"))
    parser.add_argument("--weights", type=Path, default=weights.FOLDER, help="the folder with world and scenes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--denoising_steps", type=int, nargs="+", default=sizes.DENOISING_STEPS)
    args = parser.parse_args()
    started = time.perf_counter()
    sampling = Sampling(tuple(args.denoising_steps), timestep_shift=sizes.SHIFT, num_frame_per_block=sizes.BLOCK)
    found = judge(args.weights, QUICK_SAMPLES if args.quick else Samples(), args.only, args.device, sampling)
    met = verdict(found)
    seconds = time.perf_counter() - started
    if args.json:
        measured = {name: None if math.isnan(value) else round(value, 4) for name, value in found.items()}
        print(json.dumps({"measured": measured, "met": met, "seconds": round(seconds, 1)}))
    else:
        print(report(found, met, seconds))
    sys.exit(not all(met.values()))


if __name__ == "__main__":
    main()
