"""What the minis show, in numbers that a CPU and a GPU must agree on: both are asked by the functions of this file, through the
doors of the commands and with their default flags.

Worlds are made one by one and then in a batch, so that most of them are not the first of their process. A world's noise
is drawn on the CPU wherever it is played. A clip's is drawn where it is made, as upstream does it, so here it is drawn on
the CPU and handed over: then the same clip is made everywhere, but for rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mgcli.game.request import GenerateRequest, game_request
from mgcli.game.worlds import open_models
from mgcli.video.request import wan22_request
from mgcli.video.run import open_generation
from wan22.compare import compare_frames, of_video
from wan22.config import ResolvedRequest, seeded
from wan22.generation import Generation
from wan22.pipeline import draw_noise
from wan22.plan import planned
from wanmini import judge_scenes, judge_world
from wanmini.clips import HELD_OUT
from wanmini.judge import SIZE, as_video, by_rollout
from wanmini.scenes import Scenes, captions

WALKS, BLOCKS, PROMPTS = 8, 3, 4
WAYS: dict[str, dict[str, Any]] = {"exact": {}, "recommended": {"accel": "recommended"}}  # rows of the study
Numbers = dict[str, Any]


# Worlds ---------------------------------------------------------------------------------------------------------------


def worlds(alone: int = WALKS, **flags: Any) -> Numbers:
    """Decibels from the renderer: of `alone` worlds played one after the other, and of all of them in one batch; and whether
    both do what their actions say."""
    request = game_request(GenerateRequest, flags)
    models = open_models(request)
    generate = by_rollout(models, request.sampling())
    walks = judge_world.scripted_walks(WALKS, BLOCKS)
    given = walks.start_images(SIZE), walks.keyboard, walks.mouse
    made = {"alone": torch.cat([generate(*(part[i : i + 1] for part in given)) for i in range(alone)])}
    if alone == WALKS:
        made["batch"] = generate(*given)
    truth, known = walks.true_video(SIZE), judge_world.known_pixels(walks, SIZE)
    found = {name: {"db": from_truth(video, truth, known)} for name, video in made.items()}
    return found if alone < WALKS else {n: found[n] | judge_world.directions(made[n], walks) for n in found}


def from_truth(video: Tensor, truth: Tensor, known: Tensor) -> list[float]:
    """Of each world, without its first frame: that is the start image."""
    count = len(video)
    found = judge_world.masked_psnr(video[:, :, 1:].clamp(-1, 1), truth[:count, :, 1:], known[:count, 1:])
    return [round(db, 3) for db in found.tolist()]


# Clips ----------------------------------------------------------------------------------------------------------------


def clips(prompts: int = PROMPTS, **flags: Any) -> Numbers:
    """For each way of the study: decibels from the exact clip, and the shares of attributes that the judge finds right."""
    scenes = Scenes.sample(torch.arange(HELD_OUT, HELD_OUT + prompts), held_out=True)
    texts = captions(scenes, held_out=True)
    made = {way: clips_of(texts, flags | own) for way, own in WAYS.items()}
    apart = [of_video(compare_frames(*pair)).psnr for pair in zip(made["exact"], made["recommended"])]
    return {
        "db": [round(db or 99.0, 3) for db in apart],
        **{way: right(frames, scenes) for way, frames in made.items()},
    }


def clips_of(texts: list[str], flags: dict[str, Any]) -> list[np.ndarray]:
    """A clip of each text, uint8 [F, H, W, 3], by the generation of `wan22 t2v`."""
    request = wan22_request({**flags, "base_seed": 0}, task="t2v-A14B")
    asked = [wan22_request({**flags, "base_seed": i, "prompt": text}) for i, text in enumerate(texts)]
    generation = open_generation(request, [planned(seeded(video)) for video in asked], None)
    generation._noise = lambda video: noise_of(generation, video)  # type: ignore[method-assign]
    done = [i for i, step in generation.steps() if step.step is generation.videos[i].steps[-1]]
    return [np.concatenate(list(generation.frames(i))) for i in sorted(done)]


def noise_of(generation: Generation, video: ResolvedRequest) -> Tensor:
    shape = (generation.parts.config.out_dim, *video.latent_size)
    return draw_noise(shape, video.base_seed, "cpu").to(generation.parts.device)


def right(made: list[np.ndarray], scenes: Scenes) -> dict[str, float]:
    scores = [judge_scenes.score(judge_scenes.read(as_video(c)), scenes[i : i + 1]) for i, c in enumerate(made)]
    shares = {name: torch.cat([score[name] for score in scores]).nanmean() for name in scores[0]}
    return {name: round(share.item(), 4) for name, share in shares.items() if not share.isnan()}
