"""The flags of `wan22`, as tables: several commands take the same ones, and a preset's keys are their names.

What was not given stays out of the way (None), so that a preset can have said it. Arithmetic is that of 49 frames and 20
steps; `wan22 plan` shows that of any other run. Decibels and shares of right clips are the embedded mini's, against its exact
clips: docs/accelerations.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class Flags:
    title: str
    of: dict[str, tuple[Any, str]]  # name -> type and help


COMPARISON = Flags("Comparison", {
    "comparison_mode": (str, "half_vs_baseline, cfg_vs_baseline, all_vs_baseline (default), or completion: all three completions of half frames."),
    "output_dir": (Path, "Where the videos, the curves and the report go. Default: outputs/<comparison_mode>."),
    "overwrite": (bool, "Replace what is there. Default: write beside it, NAME-2."),
})  # fmt: skip
IMAGE = Flags("Image", {"image": (Path, "The first frame; any size, an image file.")})
PROMPT = Flags("Prompt", {
    "prompt": (str, 'What the video shows. The embedded mini knows moving shapes: "Two small red stars drift slowly to the left on a dark background."'),
    "n_prompt": (str, "What it must not show. Default: upstream's, in Chinese."),
})  # fmt: skip

VIDEO = Flags("Video", {
    "task": (str, "t2v-A14B or i2v-A14B."),
    "size": (str, "WIDTH*HEIGHT: 1280*720 (default), 720*1280, 832*480, 480*832."),
    "any_size": (bool, "Allow any size in multiples of 16; the models were trained on the four above."),
    "frame_num": (int, "Video frames. Default 81; 4n+1 is what the VAE makes, other lengths are cut from the next."),
    "sample_steps": (int, "Denoising steps. Default 40."),
    "sample_shift": (float, "How far the schedule leans towards noise. Default 12 (t2v), 5 (i2v)."),
    "sample_solver": (str, "unipc (default) or dpm++."),
    "sample_guide_scale": (str, "Guidance: one number, or LOW,HIGH for the two experts. Default 3,4 (t2v), 3.5,3.5 (i2v)."),
    "base_seed": (int, "Seed of the noise. Default: a new one each time, recorded beside the video."),
    "config_path": (str, "Preset: YAML whose keys are these flags, or the .json beside a video, which makes it again; a flag wins over it."),
})  # fmt: skip

ACCELERATIONS = Flags("Accelerations", {
    "accel": (str, "recommended: half frames and truncation as in configs/wan22/recommended.yaml: 2.1x less arithmetic at 49 frames and 20 steps, 25 dB from exact; exact: none (default)."),
    "enable_half_frame_generation": (bool, "Lossy: half of the frames for the high-noise expert: 1.6x less arithmetic; as right as exact, but another video, 21 dB away (another seed: 20)."),
    "enable_improved_frame_completion": (bool, "Same as --frame_completion improved; no time, 21 dB too."),
    "frame_completion": (str, "What completes half frames: repeat (default; the solver restarts), improved (it goes on), renoise (inserted frames get their own noise). No time; within 0.2 dB."),
    "half_frame_rope": (str, "Where half frames are in time: native (default; side by side) or stretch (every other: 22 dB). No time."),
    "half_frame_noise": (str, "What half frames start from: alternate (default; the noise of frames 0, 2, 4, ...) or pairs (of all frames, two by two: 25 dB with renoise and stretch). No time."),
    "cfg_truncate_steps": (int, "Lossy: the last N steps run one prompt instead of two. 5 of 20: 1.14x less arithmetic; with the 3 below 39 dB, shapes right 92 % instead of 96."),
    "cfg_truncate_high_noise_steps": (int, "Lossy: so do the last M steps of the high-noise expert. 3 of 20: 1.08x less."),
    "cfg_truncate_mode": (str, "What they run: cond (default; no guidance; 39 dB), uncond (the negative prompt; 30 dB, half of the shapes wrong), delta (cond, re-adding the last difference; 37 dB)."),
})  # fmt: skip

MACHINE = Flags("Machine", {
    "ckpt_dir": (Path, "Checkpoint folder as released (Wan-AI or Diffusers). Default: what `mg download` fetched, else for t2v the embedded mini, which makes 49 frames of 160*96 in 20 steps with guidance 2."),
    "device": (str, "auto (default), cuda, cuda:1, mps or cpu."),
    "residency": (str, "Experts on the device: both, one (at a time), stream (block by block); auto takes the first that fits."),
    "offload_model": (str, "Upstream's spelling: True is --residency one, False is --residency both."),
    "t5_cpu": (bool, "Run the text encoder on the host."),
    "dtype": (str, "Of the experts: bfloat16 (default; float32 on a CPU), float16 or float32."),
    "convert_model_dtype": (bool, "Upstream's spelling of --dtype bfloat16."),
    "vae_tiling": (bool, "Decode by strips, in 3 GiB at 1280*720: the same video. By default as many as the memory at hand needs."),
    "reference": (bool, "Run the plain models, the measure of the fast ones: the same videos, slower."),
    "attention": (str, "auto (default), cudnn, flash or sdpa."),
    "compile": (bool, "torch.compile of the plain models' layers, for hardware the fast ones were not written for."),
    "fp8": (bool, "Lossy: the large products of the experts in 8-bit floats: 1.28x faster and 17 GB an expert instead of 29; 41 dB from exact. For GPUs of compute capability 8.9 or higher."),
})  # fmt: skip

OUTPUT = Flags("Output", {
    "prompt_file": (Path, "A prompt a line: a video each, nothing loaded twice, seeds counting up."),
    "save_file": (Path, "Where the video goes; request and timings go beside it, as .json. Default: a name in outputs/."),
    "overwrite": (bool, "Replace what is there. Default: write beside it, NAME-2."),
    "save_latents": (bool, "Also keep the latents beside it, as .safetensors."),
})  # fmt: skip


def takes(*groups: Flags) -> Callable[[Callable[[dict[str, Any]], None]], Callable[..., None]]:
    """Gives a command these flags; it receives those that were given, by name."""

    def decorate(command: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
        @wraps(command)
        def with_flags(**values: Any) -> None:
            command({name: value for name, value in values.items() if value is not None})

        parameters = [_parameter(name, *flag, group.title) for group in groups for name, flag in group.of.items()]
        with_flags.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_flags.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return with_flags

    return decorate


def _parameter(name: str, kind: Any, help: str, panel: str) -> inspect.Parameter:
    # a switch has no --no_ form: --accel exact undoes what a preset switched on
    spelled = [f"--{name}"] if kind is bool else []
    option = typer.Option(*spelled, help=help, rich_help_panel=panel, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )
