"""The work behind `wan22 compare`: all contestants made from one checkpoint, compared, written up. Imports torch."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mgcli.app.console import console
from mgcli.app.devices import out_of_memory_as
from mgcli.app.outputs import Outputs
from mgcli.video.comparison_report import draw_curves, markdown, side_by_side
from mgcli.video.record import again, run_facts
from mgcli.video.request import Wan22Request, accelerations
from mgcli.video.run import open_generation, watched, write_video
from wan22.compare import ComparedVideo, compare_frames, contestants
from wan22.config import Request, find_task
from wan22.generation import Generation
from wan22.image import GivenFrames


def compare_videos(
    mode: str, asked: Request, request: Wan22Request, image: GivenFrames | None, folder: Path
) -> dict[str, Any]:
    """Everything from the video that was asked for, one seed for all, to files; what the command reports."""
    named = contestants(mode, asked, accelerations("recommended"))
    with Outputs(request, request.overwrite) as outputs:
        folder = outputs.place("--output_dir", folder, lambda at: written(at, list(named)), folder=True)
        generation = open_generation(request, list(named.values()), image)
        with out_of_memory_as(lambda _: generation.out_of_memory(request.vae_tiling)):
            made = make_all(generation, list(named), request.vae_tiling)
        return write_report(mode, folder, made, request, generation)


def written(folder: Path, names: list[str]) -> dict[str, Path]:
    videos = [f"{name}.mp4" for name in (*names, "side_by_side")]
    return {name: folder / name for name in (*videos, "per_frame.png", "report.md", "report.json")}


def make_all(generation: Generation, names: list[str], tiled: bool) -> list[ComparedVideo]:
    """The baseline first; the others know how far they are from it."""
    made: dict[int, ComparedVideo] = {}
    for i in watched(generation, warm_up=True):
        frames = [frame for chunk in generation.frames(i, tiled) for frame in chunk]
        seconds = generation.seconds[i]
        denoised = seconds["high"] + seconds["low"]
        made[i] = ComparedVideo(names[i], generation.videos[i], frames, denoised, seconds["decode"])
    console.say("comparing")
    others = [replace(made[i], quality=compare_frames(made[0].frames, made[i].frames)) for i in range(1, len(made))]
    return [made[0], *others]


def write_report(
    mode: str, folder: Path, made: list[ComparedVideo], request: Wan22Request, generation: Generation
) -> dict[str, Any]:
    baseline, fps = made[0], find_task(made[0].video.request.task).fps
    for each in made:
        write_video(folder / f"{each.name}.mp4", fps, (frame[None] for frame in each.frames))
    write_video(folder / "side_by_side.mp4", fps, (frame[None] for frame in side_by_side(made)))
    facts = [each.facts(baseline) for each in made]
    (folder / "report.md").write_text(markdown(f"{mode}: {baseline.video.request.prompt}", facts), encoding="utf-8")
    data = {
        "comparison_mode": mode,
        "folder": str(folder),
        "results": facts,
        "requests": {
            each.name: asdict(again(request, generation, each.video.request, folder / f"{each.name}.mp4"))
            for each in made
        },
        **run_facts(request, generation),
    }
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    draw_curves(folder / "per_frame.png", mode, made[1:])
    return data
