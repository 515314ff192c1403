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

from mgcli.app.flag import flag
from mgcli.app.options import ATTENTIONS, DEVICES, DTYPES
from mgcli.video.mini import EXAMPLE
from wan22.config import SIZES, TASKS
from wanmini import sizes


@dataclass(frozen=True)
class Flag:
    kind: Any
    help: str
    default: str = ""  # in words; a switch has none
    choices: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # names beside its own, which is upstream's
    metavar: str | None = None


@dataclass(frozen=True)
class Flags:
    title: str
    of: dict[str, Flag]


COMPARISONS = ("half_vs_baseline", "cfg_vs_baseline", "all_vs_baseline", "completion")
OVERWRITE = Flag(bool, "Replace files that are there. Without it, NAME-2 is written beside NAME.")

COMPARISON = Flags("Comparison", {
    "comparison_mode": Flag(str, "What is compared with the exact video: half frames, truncated guidance, both one by one and together, or the three ways to complete half frames.", "all_vs_baseline", COMPARISONS),
    "output_dir": Flag(Path, "The folder for the videos, the curves and the report.", "outputs/ and the name of the comparison", (), ("--output", "-o"), "FOLDER"),
    "overwrite": OVERWRITE,
})  # fmt: skip
IMAGE = Flags("Image", {
    "image": Flag(Path, "The first frame: an image file of any size. The video takes its shape.", "none, wan22 i2v needs one or a --video", metavar="FILE"),
    "last_image": Flag(Path, "The last frame too, of the same shape. The model's input has room for it; how well the released weights do it was not seen.", "none", metavar="FILE"),
    "video": Flag(Path, "In place of --image: a video to go on from. The file holds what is new; the first --overlap of --frame_num are the end of this one.", "none", metavar="FILE"),
    "overlap": Flag(int, "How many of its last frames are given: 1, 5, 9, 13, ... Several say how things move, 1 says where they are.", "5"),
})  # fmt: skip
PROMPT = Flags("Prompt", {
    "prompt": Flag(str, f'What the video shows. The mini knows moving shapes only: "{EXAMPLE}"', "none, a video needs one", (), ("-p",)),
    "n_prompt": Flag(str, "What it must not show.", "the released models' own list of faults, in Chinese"),
})  # fmt: skip

VIDEO = Flags("Video", {
    "task": Flag(str, "Which model.", "that of the command; t2v-A14B for wan22 plan", tuple(TASKS)),
    "size": Flag(str, f"WIDTH*HEIGHT of the video: {', '.join(SIZES)}, or any with --any_size. An image gives the shape, and this the area.", f"1280*720; the mini's is {sizes.SIZE}", SIZES, metavar="WIDTH*HEIGHT"),
    "any_size": Flag(bool, "Allow any size in multiples of 16; the models were trained on the four above."),
    "frame_num": Flag(int, "How many frames; 16 are a second. The model makes 1, 5, 9, 13, ... of them, and any other number is cut from the next.", f"81; the mini's {sizes.SCENE_FRAMES}"),
    "sample_steps": Flag(int, "Denoising steps: fewer are faster and coarser.", f"40; the mini's {sizes.SCENE_STEPS}", (), ("--steps",)),
    "sample_shift": Flag(float, "How far the noise levels lean towards high noise: the more, the more steps are the high-noise expert's.", "12 for text, 5 for an image"),
    "sample_solver": Flag(str, "What goes from one noise level to the next.", "unipc", ("unipc", "dpm++")),
    "sample_guide_scale": Flag(str, "How closely the prompt is followed: one number, or two for the low-noise and the high-noise expert.", f"3,4 for text; 3.5,3.5 for an image; the mini's {sizes.SCENE_GUIDANCE:g}", metavar="N|LOW,HIGH"),
    "base_seed": Flag(int, "Another number is another video; the same one makes the same again.", "a new one each time, recorded beside the video", (), ("--seed", "-s")),
    "config_path": Flag(str, "A YAML file whose keys are these flags, or the .json beside a video, which makes it again; a flag wins over it.", "none", metavar="FILE"),
})  # fmt: skip

ACCELERATIONS = Flags("Accelerations", {
    "accel": Flag(str, "Several of the flags below at once. recommended is half frames and truncation, as in configs/wan22/recommended.yaml: 2.1x less arithmetic at 49 frames and 20 steps, 25 dB from exact.", "exact: none of them", ("recommended", "exact")),
    "enable_half_frame_generation": Flag(bool, "Lossy: the high-noise expert works on half of the frames: 1.6x less arithmetic. As right as exact, but another video, 21 dB away (another seed: 20)."),
    "enable_improved_frame_completion": Flag(bool, "The same as --frame_completion improved; takes no time, 21 dB too."),
    "frame_completion": Flag(str, "How half of the frames become all: repeat them, and the solver starts again; improved repeats its memory too, so that it goes on; renoise gives inserted frames noise of their own. No time; within 0.2 dB of each other.", "repeat", ("repeat", "improved", "renoise")),
    "half_frame_rope": Flag(str, "Where half frames are in time: native, side by side; stretch, every other place (22 dB). No time.", "native", ("native", "stretch")),
    "half_frame_noise": Flag(str, "The noise that half frames start from: alternate, that of frames 0, 2, 4, ...; pairs, that of all frames, two by two (25 dB with renoise and stretch). No time.", "alternate", ("alternate", "pairs")),
    "cfg_truncate_steps": Flag(int, "Lossy: the last N steps run one prompt instead of two. 5 of 20: 1.14x less arithmetic; with the 3 of the next flag 39 dB, shapes right 92 % instead of 96.", "0"),
    "cfg_truncate_high_noise_steps": Flag(int, "Lossy: so do the last N steps of the high-noise expert. 3 of 20: 1.08x less.", "0"),
    "cfg_truncate_mode": Flag(str, "Which one they run: cond, your prompt without guidance (39 dB); uncond, the negative prompt (30 dB, half of the shapes wrong); delta, your prompt and the last difference (37 dB).", "cond", ("cond", "uncond", "delta")),
})  # fmt: skip

MACHINE = Flags("Machine", {
    "ckpt_dir": Flag(Path, "The checkpoint folder, as released (Wan-AI or Diffusers), or a folder of single files, such as ComfyUI's models; or a name: one that `wan22 download` has fetched, such as t2v-A14B, and mini, the small model of moving shapes that comes with the package.", "what `wan22 download` has fetched, what the Hugging Face cache has, $COMFYUI_MODELS; else, for text, the mini", metavar="FOLDER|NAME"),
    "high_noise": Flag(Path, "The high-noise expert, a file or folder, in place of the checkpoint folder's. With this and the next four named, no folder is needed.", "that of the checkpoint folder", metavar="PATH"),
    "low_noise": Flag(Path, "The low-noise expert, a file or folder.", "that of the checkpoint folder", metavar="PATH"),
    "text_encoder": Flag(Path, "The UMT5 text encoder, a file or folder.", "that of the checkpoint folder", metavar="PATH"),
    "tokenizer": Flag(Path, "A tokenizer.json, a spiece.model, or a text encoder's file that carries one, as ComfyUI's and GGUF files do.", "that of the text encoder or the folder", metavar="FILE"),
    "vae": Flag(Path, "The Wan 2.1 VAE, a file or folder.", "that of the checkpoint folder", metavar="PATH"),
    "lora": Flag(list[str], "Add a LoRA file to the experts, this strongly (1): to the one that its name or its notes say, else to both. As often as there are files.", "none", metavar="FILE[:STRENGTH]"),
    "high_lora": Flag(list[str], "Add a LoRA file to the high-noise expert.", "none", metavar="FILE[:STRENGTH]"),
    "low_lora": Flag(list[str], "Add a LoRA file to the low-noise expert.", "none", metavar="FILE[:STRENGTH]"),
    "device": Flag(str, "Where the models run; cuda:1 is the second GPU.", "auto: the GPU, if there is one", DEVICES),
    "residency": Flag(str, "What is on the GPU at a time: both experts, one of them, or a few layers of one, which come from the host's memory (stream) or from its disk (disk).", "auto, the first that fits", ("auto", "both", "one", "stream", "disk")),
    "memory": Flag(str, "Take no more than so many GiB of the GPU's memory. `wan22 plan` shows what fits in so many, or in what is free here (auto).", "all that is free", metavar="GIB|auto"),
    "offload_model": Flag(str, "The official script's way to say --residency: True is one, False is both.", "neither", ("True", "False")),
    "t5_cpu": Flag(bool, "Run the text encoder on the CPU."),
    "dtype": Flag(str, "The numbers the experts compute with.", "auto: bfloat16, float32 on a CPU", DTYPES),
    "convert_model_dtype": Flag(bool, "The official script's way to say --dtype bfloat16."),
    "vae_tiling": Flag(bool, "Decode by strips, in 3 GiB at 1280*720: the same video, a little slower. Without it, as many strips as the free memory needs."),
    "reference": Flag(bool, "Run the plain models, the measure of the fast ones: the same videos, slower."),
    "attention": Flag(str, "Which attention computes; `mg doctor` says which work here.", "auto, the fastest that works", ATTENTIONS),
    "compile": Flag(bool, "Let torch compile the plain models' layers, for hardware the fast ones were not written for."),
    "fp8": Flag(bool, "Lossy: the experts' large products in 8-bit floats: 1.28x faster and 17 GB an expert instead of 29; 41 dB from exact. For GPUs of compute capability 8.9 or higher."),
})  # fmt: skip

OUTPUT = Flags("Output", {
    "save_file": Flag(Path, "The video; how it was made and how long that took goes beside it, as .json.", "a name from the prompt, in outputs/", (), ("--output", "-o"), "FILE"),
    "prompt_file": Flag(Path, "A prompt a line: a video of each, with seeds counting up; models are loaded once.", "none", metavar="FILE"),
    "overwrite": OVERWRITE,
    "save_latents": Flag(bool, "Also keep what the model made before decoding, as .safetensors."),
})  # fmt: skip


def takes(*groups: Flags) -> Callable[[Callable[[dict[str, Any]], None]], Callable[..., None]]:
    """Gives a command these flags; it receives those that were given, by name."""

    def decorate(command: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
        @wraps(command)
        def with_flags(**values: Any) -> None:
            command({name: value for name, value in values.items() if value is not None})

        parameters = [_parameter(name, one, group.title) for group in groups for name, one in group.of.items()]
        with_flags.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_flags.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return with_flags

    return decorate


def _parameter(name: str, one: Flag, panel: str) -> inspect.Parameter:
    # its own name is spelled out for a switch too: it has no --no_ form, --accel exact undoes what a preset switched on
    option = flag(
        one.help,
        f"--{name}",
        *one.others,
        default=one.default,
        panel=panel,
        choices=one.choices,
        metavar=one.metavar,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[one.kind | None, option]
    )
