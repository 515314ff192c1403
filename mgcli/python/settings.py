"""What the Python calls take beside a prompt or an image: the fields of the commands' requests, by their names.

The lists are written out, so that an editor can complete them and a type checker read them; tests hold them to the requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypedDict

from wan.refusal import Refusal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class VideoSettings(TypedDict, total=False):
    """As `wan22 t2v` and `wan22 i2v` take them."""

    accel: Literal["exact", "recommended"]
    task: str
    n_prompt: str
    size: str
    any_size: bool
    frame_num: int
    sample_steps: int
    sample_shift: float
    sample_solver: Literal["unipc", "dpm++"]
    sample_guide_scale: float | tuple[float, float]
    base_seed: int
    video: str | Path
    overlap: int
    enable_half_frame_generation: bool
    enable_improved_frame_completion: bool
    frame_completion: Literal["repeat", "improved", "renoise"]
    half_frame_rope: Literal["native", "stretch"]
    half_frame_noise: Literal["alternate", "pairs"]
    cfg_truncate_steps: int
    cfg_truncate_high_noise_steps: int
    cfg_truncate_mode: Literal["cond", "uncond", "delta"]
    ckpt_dir: str | Path
    high_noise: str | Path
    low_noise: str | Path
    text_encoder: str | Path
    tokenizer: str | Path
    vae: str | Path
    lora: Sequence[str]
    high_lora: Sequence[str]
    low_lora: Sequence[str]
    config_path: str | Path
    device: str
    dtype: Dtype
    residency: Literal["auto", "both", "one", "stream", "disk"]
    memory: float | Literal["auto"]
    t5_cpu: bool
    vae_tiling: bool
    reference: bool
    attention: str
    compile: bool
    fp8: bool


class WorldSettings(TypedDict, total=False):
    """As `mg generate` takes them."""

    mode: Literal["universal", "gta_drive", "templerun"]
    checkpoint_path: str | Path
    pretrained_model_path: str | Path
    tiny_vae: str | Path
    config_path: str | Path
    height: int
    width: int
    action_seed: int
    fps: float
    device: str
    dtype: Dtype
    denoising_step_list: Sequence[int]
    warp_denoising_step: bool
    timestep_shift: float
    num_frame_per_block: int
    context_noise: float
    local_attn_size: int
    reference: bool
    attention: str
    compile: bool
    graphs: bool
    fp8: bool


def check_names(call: str, given: Mapping[str, Any], settings: type, elsewhere: Mapping[str, str]) -> None:
    """A keyword that a call does not know is a TypeError, as Python has it, with the nearest one or where its matter is decided."""
    known = sorted(settings.__annotations__)
    for name in given:
        if name in known:
            continue
        near = get_close_matches(name, known, n=1)
        hint = elsewhere.get(name) or (f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}")
        raise TypeError(f"{call} takes no {name!r}; {hint}")


@contextmanager
def settings_named() -> Iterator[None]:
    """A refusal with the settings that would help in its sentence, where a command shows flags."""
    try:
        yield
    except Refusal as refusal:
        if not refusal.settings:
            raise
        raise ValueError(f"{refusal} ({', '.join(refusal.settings)})") from refusal
