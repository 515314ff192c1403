"""The work behind `wan22 compare`: all contestants made from one checkpoint, compared, written up. Imports torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mgcli.app.console import console
from mgcli.app.machine import versions
from mgcli.app.outputs import Outputs
from mgcli.video.request import Wan22Request
from mgcli.video.run import explained_memory, fitted, open_generation, watched
from wan.game.conditions import open_image
from wan.video.writer import VideoWriter
from wan22.compare import Made, compare_frames, contestants
from wan22.config import find_task, seeded
from wan22.generation import Generation
from wan22.report import draw_curves, markdown, side_by_side


def compare_videos(mode: str, request: Wan22Request, folder: Path) -> dict[str, Any]:
    """Everything from requests to files; what the command reports."""
    image = open_image(request.image) if request.image else None
    [video] = request.videos()
    seed = seeded(video).base_seed  # one for all
    named = contestants(mode, replace(fitted(video, image), base_seed=seed))
    with Outputs(request, request.overwrite) as outputs:
        folder = outputs.place("--output_dir", folder, lambda at: written(at, list(named)), folder=True)
        generation = open_generation(request, [seeded(contestant) for contestant in named.values()], image)
        with explained_memory(generation, request.vae_tiling):
            made = make_all(generation, list(named), request.vae_tiling)
        return write_report(mode, folder, made, generation)


def written(folder: Path, names: list[str]) -> dict[str, Path]:
    videos = [f"{name}.mp4" for name in (*names, "side_by_side")]
    return {name: folder / name for name in (*videos, "per_frame.png", "report.md", "report.json")}


def make_all(generation: Generation, names: list[str], tiled: bool) -> list[Made]:
    """The baseline first; the others know how far they are from it."""
    made: dict[int, Made] = {}
    for i in watched(generation, warm_up=True):
        frames = [frame for chunk in generation.frames(i, tiled) for frame in chunk]
        seconds = generation.seconds[i]
        denoised = seconds["high"] + seconds["low"]
        made[i] = Made(names[i], generation.requests[i], frames, denoised, seconds["decode"])
    console.say("comparing")
    others = [replace(made[i], quality=compare_frames(made[0].frames, made[i].frames)) for i in range(1, len(made))]
    return [made[0], *others]


def write_report(mode: str, folder: Path, made: list[Made], generation: Generation) -> dict[str, Any]:
    baseline, fps = made[0], find_task(made[0].request.task).fps
    for each in made:
        write_video(folder / f"{each.name}.mp4", each.frames, fps)
    write_video(folder / "side_by_side.mp4", side_by_side(made), fps)
    facts = [each.facts(baseline) for each in made]
    draw_curves(folder / "per_frame.png", mode, made[1:])
    (folder / "report.md").write_text(markdown(f"{mode}: {baseline.request.prompt}", facts), encoding="utf-8")
    data = {
        "comparison_mode": mode,
        "folder": str(folder),
        "results": facts,
        "requests": {each.name: asdict(each.request) for each in made},
        "residency": generation.residency,
        "device": str(generation.parts.device),
        "versions": versions(),
    }
    (folder / "report.json").write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return data


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    with VideoWriter(path, fps) as writer:
        for frame in frames:
            writer.write(frame[None])
