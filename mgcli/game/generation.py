"""The work behind `mg generate`: worlds begun, played to their end and recorded. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from mgcli.app.console import console
from mgcli.app.recording import Recording
from mgcli.game.batch import WorldPlan, trace_of
from mgcli.game.request import GenerateRequest
from mgcli.game.worlds import explained_memory, facts_of, open_models, peak_memory_gib
from wan.fast.profiling import BlockProfiler
from wan.game.actions import Action
from wan.game.conditions import open_image
from wan.game.rollout import Block, World, rollout, scripted
from wan.game.timeline import blocks_in


def generate_worlds(request: GenerateRequest, plans: Sequence[WorldPlan]) -> dict[str, Any]:
    """Everything from images to files; what the command reports."""
    images = [open_image(plan.image) for plan in plans]  # first, because loading models takes long
    blocks = blocks_in(request.num_output_frames or 0, request.num_frame_per_block)
    with ExitStack() as stack:
        stack.enter_context(explained_memory(request))
        models = open_models(request, len(plans))
        world = models.start(images, [plan.seed for plan in plans], request.sampling(), request.height, request.width)
        recordings = [stack.enter_context(Recording(p.output, models.mode, request.fps)) for p in plans]
        profiler = stack.enter_context(BlockProfiler(models.engine, blocks)) if request.enable_profile else None
        for plan, recording in zip(plans, recordings):
            recording.tell(request, **plan.origin(), **facts_of(models))
        _play(world, plans, recordings, profiler, blocks, request.save_latents)
    return _facts(recordings, world) | (_profile_facts(profiler, request) if profiler else {})


def _play(
    world: World,
    plans: Sequence[WorldPlan],
    recordings: Sequence[Recording],
    profiler: BlockProfiler | None,
    blocks: int,
    keep_latents: bool,
) -> None:
    # files are written one block behind, so that neither the GPU nor the encoders wait for the other
    with console.progress("block", blocks) as bar, ThreadPoolExecutor(1, "writer") as writer:
        written: Future[None] | None = None
        for block in rollout(world, scripted([plan.script for plan in plans]), blocks):
            made = on_host(block, world, keep_latents)
            if written:
                written.result()
            written = writer.submit(write, made, recordings)
            if profiler:
                profiler.next_block()
            frames, rate = recordings[0].frames, recordings[0].frames_per_second
            bar.advance(status=f"{frames} frames, {rate:.1f} frames/s, {peak_memory_gib(world.model.device):.1f} GiB")
        if written:
            written.result()


@dataclass(frozen=True)
class Made:
    """A block of each world, on the host."""

    video: np.ndarray
    latents: Tensor | None
    actions: Sequence[Sequence[Action]]


def on_host(block: Block, world: World, keep_latents: bool = False) -> Made:
    video = block.on_host()
    made = Made(video, block.latents.cpu() if keep_latents else None, block.actions)
    world.commit()  # now, because a GPU does the clean pass while the frames are encoded
    return made


def write(made: Made, recordings: Sequence[Recording]) -> None:
    """A block of each world to its files."""
    for i, recording in enumerate(recordings):
        recording.write(made.video[i], made.actions[i])
        if made.latents is not None:
            recording.keep(made.latents[i : i + 1])


def _facts(recordings: Sequence[Recording], world: World) -> dict[str, Any]:
    first = recordings[0]
    return {
        "outputs": [recording.files() for recording in recordings],
        "mode": first.mode.name,
        "frames": first.frames,
        "seconds": first.total_seconds,
        "frames_per_second": first.frames_per_second,
        "peak_memory_gib": peak_memory_gib(world.model.device),
    }


def _profile_facts(profiler: BlockProfiler, request: GenerateRequest) -> dict[str, Any]:
    trace = trace_of(request.output)
    profiler.write_trace(trace)
    return {"trace": str(trace), "profiled_blocks": profiler.recorded, "profile": profiler.seconds()}
