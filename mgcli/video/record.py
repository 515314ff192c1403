"""What is kept beside a video: the request that makes it again, and what only the run knows. Imports torch.

The request has nothing left open: the seed that was drawn, the checkpoint that was found, where the experts lived and in
which numbers. So it is a preset, `--config_path` takes the record itself.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from mgcli.app.machine import versions
from mgcli.app.presets import write_request
from mgcli.video.loras import facts
from mgcli.video.request import Wan22Request, checkpoint_folder
from wan.device import peak_gib
from wan.modules.attention import in_use
from wan22.config import Request, ResolvedRequest
from wan22.generation import Generation
from wan22.places import is_release


def write_record(
    path: Path, request: Wan22Request, generation: Generation, i: int, more: dict[str, str]
) -> dict[str, Any]:
    """The JSON beside video i; what is reported of it."""
    video = generation.videos[i]
    facts = {"video": str(path), **more, **video_facts(request, generation, i)}
    write_request(path.with_suffix(".json"), again(request, generation, video.request, path), facts)
    return {"prompt": video.request.prompt} | facts


def video_facts(request: Wan22Request, generation: Generation, i: int) -> dict[str, Any]:
    """What is to be said of video i, wherever it goes."""
    video = generation.videos[i]
    waited = {"load": generation.waited["high"], "switch": generation.waited["low"]}
    return {
        "frames": video.request.frame_num - video.request.known_frames,
        "size": video.request.size,
        "seed": video.request.base_seed,
        "seconds": {what: round(s, 3) for what, s in (generation.seconds[i] | waited).items()},
        "totals": asdict(video.totals),
        "strips": generation.strips[i],
        **run_facts(request, generation),
    }


def again(request: Wan22Request, generation: Generation, made: ResolvedRequest, path: Path | None) -> Wan22Request:
    """The request of this one video, as this run has resolved it."""
    video = {field.name: getattr(made, field.name) for field in fields(Request)}
    if request.image or request.video:  # to which the size asked for will be fitted again
        video |= {"size": request.size, "any_size": request.any_size}
    folder = checkpoint_folder(request)
    # what was chosen among files is chosen no more
    chosen = {} if folder and is_release(folder) else asdict(generation.parts.places)
    decided: dict[str, Any] = {
        "ckpt_dir": folder,
        **chosen,
        "config_path": None,
        "prompt_file": None,
        "save_file": path,
        "overwrite": False,
    }
    return replace(request, **video, **decided, **where(generation))


def where(generation: Generation) -> dict[str, Any]:
    """What `auto` came to."""
    parts = generation.parts
    dtype = str(parts.dtype).removeprefix("torch.")
    return {"residency": generation.residency, "device": str(parts.device), "dtype": dtype}


def run_facts(request: Wan22Request, generation: Generation) -> dict[str, Any]:
    """What holds for all videos of a run."""
    parts, folder = generation.parts, checkpoint_folder(request)
    return {
        **where(generation),
        "attention": in_use(parts.device, parts.dtype),
        "peak_gib": peak_gib(parts.device),
        "checkpoint": str(folder) if folder else None,
        "files": {name: str(path) for name, path in asdict(parts.places).items()},
        **({"loras": facts(parts.loras)} if parts.loras else {}),
        "config_path": request.config_path,
        "versions": versions(),
    }
