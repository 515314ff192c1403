"""The work behind `wan22 t2v` and `wan22 i2v`: parts opened, steps watched, videos written. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from mgcli.app.console import console
from mgcli.app.devices import device_and_dtype, peak_gib
from mgcli.app.machine import versions
from mgcli.app.outputs import Outputs
from mgcli.app.presets import write_request
from mgcli.video.request import Wan22Request, checkpoint_folder
from wan.fast.speed import Speed
from wan.game.conditions import open_image
from wan.video.writer import VideoWriter
from wan22.config import Request, ResolvedRequest, find_task, rounding_note, seeded
from wan22.generation import Generation
from wan22.image import size_for
from wan22.memory import auto_residency
from wan22.parts import Parts
from wan22.pipeline import StepDone
from wan22.plan import Step, plan, totals
from wanmini.weights import SCENES

BRANCHES = {"both": "both prompts", "cond": "the prompt alone", "uncond": "the negative prompt alone", "delta": "the prompt and the last difference"}  # fmt: skip


def make_videos(request: Wan22Request) -> dict[str, Any]:
    """All videos of a request, from prompts to files; what the command reports."""
    image = open_image(request.image) if request.image else None
    videos = [seeded(fitted(video, image), offset=i) for i, video in enumerate(request.videos())]
    paths = [output_path(request, video, i, len(videos)) for i, video in enumerate(videos)]
    with Outputs(request, request.overwrite) as outputs:
        paths = [outputs.place("--save_file", path, written, chosen=bool(request.save_file)) for path in paths]
        generation = open_generation(request, videos, image)
        made = []
        with explained_memory(generation, request.vae_tiling):
            for i in watched(generation):
                write_video(paths[i], generation, i, request.vae_tiling)
                made.append(write_record(paths[i], request, generation, i))
    return {"videos": made}


def written(path: Path) -> dict[str, Path]:
    """Everything that a video may leave."""
    return {"video": path, "record": path.with_suffix(".json"), "latents": path.with_suffix(".safetensors")}


def fitted(video: Request, image: Image.Image | None) -> Request:
    """Image to video takes the shape of its image; the size it was asked for is an area."""
    if image is None:
        return video
    video.resolved()  # the size asked for must be one, before it is replaced
    return replace(video, size=size_for(image, video.size), any_size=True)


def open_generation(
    request: Wan22Request, videos: list[ResolvedRequest], image: Image.Image | None = None
) -> Generation:
    for note in dict.fromkeys(map(rounding_note, videos)):
        if note:
            console.say(note)
    device, dtype = device_and_dtype(request.device, request.dtype)
    folder = checkpoint_folder(request)
    if folder == SCENES:
        console.say(
            f"no --ckpt_dir and no downloaded {request.task}: the embedded mini, a small model of moving shapes"
        )
    speed = Speed(request.reference, request.attention, request.compile, fp8=request.fp8)
    half = request.enable_half_frame_generation
    parts = Parts(folder, find_task(request.task), device, dtype, request.t5_cpu, half, speed)
    tokens = max(step.seq_len for video in videos for step in plan(video))
    residency = request.residency
    if residency == "auto":
        residency = auto_residency(parts.config, dtype, tokens, device, request.fp8)
    console.say(f"{folder}: experts in {str(dtype).removeprefix('torch.')} on {device}, residency {residency}")
    return Generation(parts, videos, residency, image)


def watched(generation: Generation, warm_up: bool = False) -> Iterator[int]:
    """Runs all steps under a progress bar; a video's number when it can be decoded."""
    with console.progress("step", sum(map(len, generation.plans))) as bar:
        for i, done in generation.steps(warm_up):
            bar.advance(status=describe(done, generation.plans[i]))
            if done.step is generation.plans[i][-1]:
                yield i


def describe(done: StepDone, steps: tuple[Step, ...]) -> str:
    step, full = done.step, steps[-1].latent_frames
    return f"{step.expert}-noise expert, {step.latent_frames} of {full} latent frames, {BRANCHES[step.branch]}, {done.seconds:.1f} s"


def write_video(path: Path, generation: Generation, i: int, tiled: bool) -> None:
    request = generation.requests[i]
    with VideoWriter(path, find_task(request.task).fps) as writer:
        for frames in generation.frames(i, tiled):
            writer.write(frames)


def write_record(path: Path, request: Wan22Request, generation: Generation, i: int) -> dict[str, Any]:
    """The JSON beside a video, and its latents if they are wanted; what is reported of it."""
    resolved, files = generation.requests[i], {"video": str(path)}
    if request.save_latents:
        files["latents"] = str(path.with_suffix(".safetensors"))
        latents = generation.latents[i]
        assert latents is not None
        save_file({"latents": latents.cpu().contiguous()}, files["latents"], {"seed": str(resolved.base_seed)})
    waited = {"load": generation.waited["high"], "switch": generation.waited["low"]}
    seconds = {what: round(s, 3) for what, s in (generation.seconds[i] | waited).items()}
    facts = {
        **files,
        "seed": resolved.base_seed,
        "seconds": seconds,
        "totals": asdict(totals(resolved)),
        "residency": generation.residency,
        "device": str(generation.parts.device),
        "dtype": str(generation.parts.dtype).removeprefix("torch."),
        "peak_gib": peak_gib(generation.parts.device),
        "checkpoint": str(checkpoint_folder(request)),
        "versions": versions(),
    }
    write_request(path.with_suffix(".json"), resolved, facts)
    return {"prompt": resolved.prompt, "frames": resolved.frame_num, "size": resolved.size} | facts


def output_path(request: Wan22Request, video: ResolvedRequest, i: int, count: int) -> Path:
    if request.save_file and count == 1:
        return request.save_file
    if request.save_file:
        return request.save_file.with_stem(f"{request.save_file.stem}_{i:03d}")
    words = "_".join("".join(c if c.isalnum() else " " for c in video.prompt).split())[:50]
    return Path("outputs") / f"{video.task}_{video.size.replace('*', 'x')}_{words}_{video.base_seed}.mp4"


@contextmanager
def explained_memory(generation: Generation, tiled: bool) -> Iterator[None]:
    """The one place where running out of device memory becomes advice."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ValueError(generation.out_of_memory(tiled)) from error
