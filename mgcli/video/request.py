"""Everything a `wan22` run is made from, as one frozen request: default < preset < --accel < flag.

What the video is (wan22.config.Request) and how this machine makes it stay in one flat dataclass, so that a preset may
hold either. No torch here: `wan22 plan` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mgcli.app.presets import find_config, load_preset, resolve
from mgcli.video import mini
from mgcli.video.checkpoints import checkpoint_here, named_checkpoint, none_here
from wan.files.text import read_text
from wan.schema import typed, within
from wan22.config import PARTS, Request, Residency, find_task, seeded
from wan22.loras import NamedLora, named_lora
from wan22.plan import PlannedVideo, planned
from wanmini import sizes

if TYPE_CHECKING:
    from wan22.image import GivenFrames

MOST_BYTES = 2**20  # of a file of prompts
MEMORY = (0.5, 10_000.0, 24.0)  # GiB: least, most, usual


@dataclass(frozen=True)
class Wan22Request(Request):
    # a folder, a model's name, or "mini"; none: what this machine has, else for text the mini
    ckpt_dir: Path | None = None
    high_noise: Path | None = None
    low_noise: Path | None = None
    text_encoder: Path | None = None
    tokenizer: Path | None = None
    vae: Path | None = None
    lora: tuple[str, ...] = ()  # FILE or FILE:STRENGTH; for the expert that it was made for, if it says so
    high_lora: tuple[str, ...] = ()
    low_lora: tuple[str, ...] = ()
    config_path: str | None = None
    prompt_file: Path | None = None
    image: Path | None = None
    save_file: Path | None = None  # none: named after the task, size, prompt and seed, in outputs/
    overwrite: bool = False
    save_latents: bool = False
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    residency: Literal["auto"] | Residency = "auto"
    memory: float | Literal["auto"] | None = (
        None  # GiB of the GPU's at most; auto: all that is free, and a plan shows it
    )
    t5_cpu: bool = False
    vae_tiling: bool = False
    reference: bool = False
    attention: str = "auto"
    compile: bool = False
    fp8: bool = False

    def __post_init__(self) -> None:
        if self.memory is not None and self.memory != "auto":
            within("memory", self.memory, *MEMORY)
        _ = self.loras  # what is written wrongly is refused here

    @property
    def loras(self) -> list[NamedLora]:
        given = (("lora", self.lora, None), ("high_lora", self.high_lora, "high"), ("low_lora", self.low_lora, "low"))
        return [named_lora(name, text, expert) for name, texts, expert in given for text in texts]  # type: ignore[arg-type]

    @property
    def named_parts(self) -> dict[str, Path]:
        """Those of PARTS that were named one by one."""
        return {name: getattr(self, name) for name in PARTS if getattr(self, name) is not None}

    def videos(self) -> list[Request]:
        """What to make: one video, or one for each line of the prompt file, each with a seed of its own."""
        kept = {field.name: getattr(self, field.name) for field in fields(Request)}
        if self.prompt_file is None:
            return [Request(**kept)]
        if self.prompt:
            raise ValueError("--prompt and --prompt_file were both given; give one")
        lines = read_text(self.prompt_file, MOST_BYTES).splitlines()
        prompts = [line.strip() for line in lines if line.strip()]
        if not prompts:
            raise ValueError(f"{self.prompt_file} has no prompts; write one a line")
        return [Request(**kept | {"prompt": prompt}) for prompt in prompts]


def wan22_request(flags: dict[str, Any], task: str | None = None, only_planned: bool = False) -> Wan22Request:
    """The request of a command that was given these flags; `task` is what the command is for, if it is for one. What is
    `only_planned` needs no weights, so that is done for the released model."""
    preset = {}
    if "config_path" in flags:  # the record says which file it was
        flags["config_path"] = str(find_config(flags["config_path"], given=True))
        preset = typed(Wan22Request, load_preset(flags["config_path"], given=True), flags["config_path"])
    if "ckpt_dir" in flags:  # says where all parts are, and a flag wins over a preset
        preset = {name: value for name, value in preset.items() if name not in PARTS}
    if "accel" in flags:
        preset |= accelerations(flags.pop("accel"))
    preset = {"task": task} | preset if task else preset
    if isinstance(flags.get("sample_guide_scale"), str):  # Python has numbers
        flags["sample_guide_scale"] = guide_scale(flags["sample_guide_scale"])
    if isinstance(flags.get("memory"), str):
        flags["memory"] = gib(flags["memory"])
    if flags.pop("convert_model_dtype", False):
        flags["dtype"] = one_meaning("--convert_model_dtype", "dtype", "bfloat16", flags)
    if "offload_model" in flags:
        flags["residency"] = residency_of(flags.pop("offload_model"), flags)
    by_mini = not only_planned and mini.makes(preset | flags)
    request = resolve(Wan22Request, sizes.SCENE | preset if by_mini else preset, flags)
    if task and request.task != task:
        find_task(request.task, request.enable_half_frame_generation)  # its own reason comes first
        raise ValueError(f"this command is for {task}; for {request.task} use wan22 {request.task[:3]}")
    if by_mini:
        if not request.ckpt_dir:
            mini.require_understood(video.prompt for video in request.videos() if video.prompt.strip())
        mini.require_size(preset | flags)
    return request


def accelerations(name: str) -> dict[str, Any]:
    """Those that have a name, as keys of a request: "recommended" or "exact"."""
    return load_preset(f"configs/wan22/{name}.yaml")


def guide_scale(text: str) -> float | tuple[float, float]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 2):
        raise ValueError(f"sample_guide_scale {text!r} is not a number or LOW,HIGH, such as 3,4")
    return numbers if len(numbers) == 2 else numbers[0]


def gib(text: str) -> float | str:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise ValueError(f"memory {text!r} is neither a number of GiB, such as 12, nor auto") from None


def residency_of(offload_model: str, flags: dict[str, Any]) -> str:
    meaning = {"true": "one", "false": "both"}.get(offload_model.lower())
    if meaning is None:
        raise ValueError(f"offload_model {offload_model!r} must be True or False")
    return one_meaning(f"--offload_model {offload_model}", "residency", meaning, flags)


def one_meaning(spelling: str, name: str, meaning: str, flags: dict[str, Any]) -> str:
    """The value upstream's spelling has here, unless ours was given too and says otherwise."""
    if flags.get(name, meaning) != meaning:
        raise ValueError(f"{spelling} means --{name} {meaning}, not {flags[name]}; give one of the two")
    return meaning


def checkpoint_folder(request: Wan22Request) -> Path | None:
    """The folder named, or one found on this machine, or that of the embedded mini; none where all parts are named."""
    of_mini, named = mini.named({"ckpt_dir": request.ckpt_dir}), request.named_parts.keys()
    if request.ckpt_dir and not of_mini:
        return named_checkpoint(request.ckpt_dir, request.task)
    if not of_mini and named >= set(PARTS) - {"tokenizer"}:  # which the text encoder may carry
        return None
    here = None if of_mini else checkpoint_here(request.task)
    if here or named:
        return here
    if request.task != mini.TASK:
        alone = f"the mini makes videos from text alone, no {request.task}"
        why = alone if of_mini else f"no checkpoint{none_here()}"
        raise ValueError(f"{why}: `wan22 download {request.task}` fetches one, or name a folder with --ckpt_dir")
    from wanmini.weights import SCENES

    return SCENES


def open_start(request: Wan22Request) -> GivenFrames | None:
    """What the videos begin with, and end with; what is for another task is refused, and so is nothing where something is needed."""
    if request.image is not None and request.video is not None:
        raise ValueError("--image and --video are both what the video begins with; give one")
    if request.image is None and request.video is None and request.task == "i2v-A14B":
        raise ValueError("i2v-A14B needs an image; name one with --image")
    if request.image is not None and request.task != "i2v-A14B":
        raise ValueError(f"--image is for i2v-A14B, not {request.task}")
    if request.save_file and request.save_file.suffix.lower() != ".mp4":
        raise ValueError(f"save_file {request.save_file} is not an .mp4 file: name it {request.save_file.stem}.mp4")
    if request.image is None and request.video is None:
        return None
    from mgcli.video.given import given_frames

    return given_frames(request.image, request.video, request.overlap, request.last_image)


def planned_videos(request: Wan22Request, image: GivenFrames | None) -> list[PlannedVideo]:
    """What to make; every mistake that can be known without weights is said here."""
    return [planned(seeded(fitted(video, image), offset=i)) for i, video in enumerate(request.videos())]


def fitted(video: Request, image: GivenFrames | None) -> Request:
    """Image to video takes the shape of its image; the size it was asked for is an area."""
    if image is None:
        return video
    video.resolved()  # the size asked for must be one, before it is replaced
    return replace(video, size=image.size(video.size), any_size=True)
