"""What --fp8 costs, measured on the minis: `python -m wanmini.fp8_cost [--prompts 20] [--walkers 8]`. Prints JSON.

The same prompts and walks from the same seeds, exactly and with the experts' or the world's large products in 8-bit floats.
Off a GPU the rounded numbers are multiplied in float32, which is what tensor cores compute but for the order of sums.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from typing import Any

import torch

from wan.fast.speed import Speed
from wan22.compare import compare_frames, of_video
from wanmini import judge_scenes, judge_world, weights
from wanmini.clips import HELD_OUT
from wanmini.judge import SIZE, as_video, by_rollout, make_clips, scene_video
from wanmini.scenes import Scenes, captions
from wanmini.training import psnr

BLOCKS = 8


@dataclass(frozen=True)
class Anywhere(Speed):
    """Also where it gains no time."""

    def check(self, device: torch.device) -> None:
        pass


WAYS: dict[str, Speed] = {"exact": Anywhere(graphs=False), "fp8": Anywhere(graphs=False, fp8=True)}


def scenes_cost(prompts: int) -> dict[str, Any]:
    """Distance between the clips of a prompt, and the judge's scores of both."""
    scenes = Scenes.sample(torch.arange(HELD_OUT, HELD_OUT + prompts), held_out=True)
    videos = [scene_video(text, seed) for seed, text in enumerate(captions(scenes, held_out=True))]
    made = {way: [f for _, f in make_clips(weights.SCENES, videos, "cpu", speed)] for way, speed in WAYS.items()}
    apart = [of_video(compare_frames(*pair)) for pair in zip(made["exact"], made["fp8"], strict=True)]
    found: dict[str, Any] = {name: sum(getattr(q, name) for q in apart) / prompts for name in ("psnr", "ssim")}
    for way, clips in made.items():
        scores = [judge_scenes.score(judge_scenes.read(as_video(c)), scenes[i : i + 1]) for i, c in enumerate(clips)]
        found[way] = {name: torch.cat([s[name] for s in scores]).nanmean().item() for name in scores[0]}
    return found


def world_cost(walkers: int) -> dict[str, Any]:
    """Distance over the first 3 blocks and over all, and what the judge says of both."""
    walks, videos, found = judge_world.scripted_walks(walkers, BLOCKS), {}, {}
    for way, speed in WAYS.items():
        models = weights.mini_world(cls=speed.causal_class)
        models = replace(models, engine=speed.engine(models.causal))
        video = by_rollout(models)(walks.start_images(SIZE), walks.keyboard, walks.mouse)
        found[way] = judge_world.similarity(video, walks) | judge_world.directions(video, walks)
        videos[way] = video
    first = judge_world.spans(3)[-1].frames.stop
    cuts = {"psnr_3_blocks": slice(1, first), "psnr_all_blocks": slice(1, None)}
    apart = {n: psnr(videos["fp8"][:, :, cut], videos["exact"][:, :, cut]).mean().item() for n, cut in cuts.items()}
    return apart | found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--walkers", type=int, default=8)
    args = parser.parse_args()
    print(json.dumps({"scenes": scenes_cost(args.prompts), "world": world_cost(args.walkers)}, indent=2))


if __name__ == "__main__":
    main()
