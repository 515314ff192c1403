"""The work behind `wan22 t2v` and `wan22 i2v`: parts opened, steps watched, videos written. Imports torch."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from mgcli.app.console import console
from mgcli.app.devices import device_and_dtype, out_of_memory_as
from mgcli.app.outputs import Outputs
from mgcli.video.checkpoints import none_here
from mgcli.video.loras import by_expert, used_loras
from mgcli.video.record import write_record
from mgcli.video.request import Wan22Request, checkpoint_folder
from wan.device import limit_device
from wan.fast.speed import Speed
from wan.files.saving import save_tensors
from wan.files.weights import open_weights
from wan.video.writer import VideoWriter
from wan22.config import Residency, ResolvedRequest, find_task, rounding_note
from wan22.generation import Generation
from wan22.image import GivenFrames
from wan22.memory import auto_residency, check_fits
from wan22.parts import Parts
from wan22.pipeline import StepDone
from wan22.places import Places, find_places, is_release
from wan22.plan import PlannedVideo, Step
from wanmini.weights import SCENES

log = logging.getLogger(__name__)
BRANCHES = {"both": "both prompts", "cond": "the prompt alone", "uncond": "the negative prompt alone", "delta": "the prompt and the last difference"}  # fmt: skip


def make_videos(request: Wan22Request, videos: list[PlannedVideo], image: GivenFrames | None) -> dict[str, Any]:
    """All videos of a request, from plans to files; what the command reports."""
    paths = [output_path(request, video.request, i, len(videos)) for i, video in enumerate(videos)]
    with Outputs(request, request.overwrite) as outputs:
        paths = [outputs.place("--save_file", path, written, chosen=bool(request.save_file)) for path in paths]
        generation = open_generation(request, videos, image)
        made = []
        with out_of_memory_as(lambda _: generation.out_of_memory(request.vae_tiling)):
            for i in watched(generation):
                with latents_kept(paths[i], generation, i):
                    write_video(paths[i], find_task(request.task).fps, generation.frames(i, request.vae_tiling))
                latents = write_latents(paths[i], generation, i) if request.save_latents else {}
                made.append(write_record(paths[i], request, generation, i, latents))
    return {"videos": made}


def written(path: Path) -> dict[str, Path]:
    """Everything that a video may leave."""
    return {"video": path, "record": path.with_suffix(".json"), "latents": path.with_suffix(".safetensors")}


def open_generation(request: Wan22Request, videos: list[PlannedVideo], image: GivenFrames | None) -> Generation:
    for note in dict.fromkeys(rounding_note(video.request) for video in videos):
        if note:
            log.info(note)
    device, dtype = device_and_dtype(request.device, request.dtype)
    speed = Speed(request.reference, request.attention, request.compile, fp8=request.fp8)
    places = find_files(request)
    loras = by_expert(used_loras(request, lambda: open_weights(places.high_noise).shapes))
    parts = Parts(places, find_task(request.task), device, dtype, request.t5_cpu, speed, loras)
    if isinstance(request.memory, float):
        limit_device(device, request.memory)
    residency = fitting_residency(request, videos, parts)
    folder = checkpoint_folder(request) or "files as named"
    log.info(f"{folder}: experts in {str(dtype).removeprefix('torch.')} on {device}, residency {residency}")
    return Generation(parts, videos, residency, image)


def fitting_residency(request: Wan22Request, videos: list[PlannedVideo], parts: Parts) -> Residency:
    """The one that was asked for, or the fastest that fits; what fits in no way is refused before anything is loaded."""
    longest = max(videos, key=lambda video: video.tokens)
    needs = parts.needs(longest.tokens)
    check_fits(needs, longest, parts.device)
    return auto_residency(needs, parts.device) if request.residency == "auto" else request.residency


def find_files(request: Wan22Request) -> Places:
    """Where each part is, said in a line."""
    folder, named = checkpoint_folder(request), request.named_parts
    if folder == SCENES and not request.ckpt_dir:
        none = f"no --ckpt_dir and no downloaded {request.task}{none_here()}"
        log.info(f"{none}: the mini, a small model of moving shapes")
    places = find_places(folder, find_task(request.task), named, request.enable_half_frame_generation)
    if named or folder is None or not is_release(folder):
        log.info(places.told(folder))
    return places


def watched(generation: Generation, warm_up: bool = False) -> Iterator[int]:
    """Runs all steps under a progress bar; a video's number when it can be decoded."""
    with console.progress("step", sum(len(video.steps) for video in generation.videos)) as bar:
        for i, done in generation.steps(warm_up):
            steps = generation.videos[i].steps
            bar.advance(status=describe(done, steps))
            if done.step is steps[-1]:
                yield i


def describe(done: StepDone, steps: tuple[Step, ...]) -> str:
    step, full = done.step, steps[-1].latent_frames
    return f"{step.expert}-noise expert, {step.latent_frames} of {full} latent frames, {BRANCHES[step.branch]}, {done.seconds:.1f} s"


def write_video(path: Path, fps: int, chunks: Iterable[np.ndarray]) -> None:
    """Frames as uint8 (F, H, W, 3), as many at a time as there are."""
    with VideoWriter(path, fps) as writer:
        for frames in chunks:
            writer.write(frames)


@contextmanager
def latents_kept(path: Path, generation: Generation, i: int) -> Iterator[None]:
    """The steps take minutes: what they came to is not lost with a video that cannot be written, or not be decoded."""
    for stale in (path.with_suffix(".json"), path.with_suffix(".safetensors")):
        stale.unlink(missing_ok=True)  # of the video that is replaced
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        with suppress(OSError, RuntimeError):
            error.add_note(f"the latents are kept: {keep_latents(path, generation, i)}")
        raise


def keep_latents(path: Path, generation: Generation, i: int) -> str:
    """Beside the video that was to be, or where temporary files go."""
    with suppress(OSError):
        return write_latents(path, generation, i)["latents"]
    return write_latents(Path(mkdtemp(prefix="wan22_")) / path.name, generation, i)["latents"]


def write_latents(path: Path, generation: Generation, i: int) -> dict[str, str]:
    """Beside the video; where they are."""
    latents, file = generation.latents[i], path.with_suffix(".safetensors")
    assert latents is not None
    save_tensors(file, {"latents": latents}, {"seed": str(generation.videos[i].request.base_seed)})
    return {"latents": str(file)}


def output_path(request: Wan22Request, video: ResolvedRequest, i: int, count: int) -> Path:
    if request.save_file and count == 1:
        return request.save_file
    if request.save_file:
        return request.save_file.with_stem(f"{request.save_file.stem}_{i:03d}")
    words = "_".join("".join(c if c.isalnum() else " " for c in video.prompt).split())[:50]
    return Path("outputs") / f"{video.task}_{video.size.replace('*', 'x')}_{words}_{video.base_seed}.mp4"
