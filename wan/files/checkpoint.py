"""Released checkpoints in, loaded models out: which config a file is built from, and where a release keeps its files.

The weights decide the config: config.json beside them is tried first, then the released models, and the first whose
model has exactly the file's tensors is the one. So a stale config.json is passed over, and a small model of one's own
needs nothing but a true one. What shapes cannot tell (heads, window) then comes from that same config, never a mixture.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from wan.config import (
    CAUSAL_MODELS,
    CLIP_VIT_H_14,
    UMT5_XXL,
    WAN21_VAE,
    WAN_MODELS,
    CausalConfig,
    CLIPConfig,
    T5Config,
    VAEConfig,
    WanConfig,
)
from wan.files.config_files import parse_config, read_config
from wan.files.key_names import EXPERT, GAME, IMAGE_ENCODER, TEXT_ENCODER, TINY_VAE, VAE
from wan.files.lora import Lora
from wan.files.merged import merged
from wan.files.readers import some
from wan.files.weights import Finish, Weights, faults, finished_skeleton, load_into, open_weights

if TYPE_CHECKING:
    from wan.modules.causal_model import CausalWanModel
    from wan.modules.clip import CLIPVision
    from wan.modules.model import WanModel
    from wan.modules.t5 import T5Encoder
    from wan.modules.tiny_vae import TinyVAE
    from wan.modules.vae import WanVAE

__all__ = [
    "Weights", "detect_mode", "find_in", "load_causal", "load_clip", "load_into", "load_t5", "load_tiny_vae", "load_vae",
    "load_wan", "open_weights", "skeleton", "wan_config",
]  # fmt: skip

log = logging.getLogger(__name__)
Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)
Device = torch.device | str

# What a release keeps under which names; the first that exists is taken.
PLACES = {
    "universal": ("base_distilled_model",),
    "gta_drive": ("gta_distilled_model",),
    "templerun": ("templerun_distilled_model",),
    "high_noise": ("high_noise_model", "transformer"),
    "low_noise": ("low_noise_model", "transformer_2"),
    "text_encoder": ("models_t5_umt5-xxl-enc-bf16.pth", "models_t5_umt5-xxl-enc-bf16.safetensors", "text_encoder"),
    "tokenizer": (
        "google/umt5-xxl/tokenizer.json", "tokenizer/tokenizer.json", "google/umt5-xxl/spiece.model", "tokenizer/spiece.model",
    ),
    "vae": ("Wan2.1_VAE.pth", "Wan2.1_VAE.safetensors", "vae"),
    "clip": ("models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", "image_encoder"),
    "tiny_vae": ("taew2_1.pth", "taew2_1.safetensors"),
}  # fmt: skip


def find_in(folder: Path | str, *needed: str) -> dict[str, Path]:
    """Where a downloaded release keeps the things of PLACES: all that is there, or exactly what is `needed`."""
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"no such folder: {folder}")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; the folder of a whole release is needed")
    there = {name: [folder / place for place in places if (folder / place).exists()] for name, places in PLACES.items()}
    missing = [f"{name} ({' or '.join(PLACES[name])})" for name in needed if not there[name]]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}; download the rest, or name the files one by one")
    return {name: there[name][0] for name in needed or PLACES if there[name]}


def detect_mode(weights: Weights) -> str:
    """Which game a causal model plays, read from the width of its keyboard and from whether it has a mouse."""
    weights.of(GAME)
    keyboard = {shape[-1] for name, shape in weights.shapes.items() if name.endswith(".keyboard_embed.0.weight")}
    mouse = any(".mouse_mlp." in name for name in weights.parts)
    for mode, config in CAUSAL_MODELS.items():
        action = config.action_config
        if action and keyboard == {action.keyboard_dim_in} and mouse == action.enable_mouse:
            return mode
    has = f"{some(keyboard) or 'no'} keys and {'a' if mouse else 'no'} mouse"
    raise ValueError(f"{weights.path} has {has}, as none of {', '.join(CAUSAL_MODELS)} has; use one of these")


def open_causal(
    path: Path | str, mode: str | None = None, cls: type[CausalWanModel] | None = None
) -> tuple[CausalWanModel, Weights, str]:
    """A Matrix-Game model without memory, its weights, and its mode.

    The config.json of the releases are stale and have in common that they leave out the attention window: one without
    `local_attn_size` is not tried.
    """
    from wan.modules.causal_model import CausalWanModel

    weights = open_weights(path)
    found = detect_mode(weights)
    if mode not in (None, found):
        raise ValueError(f"{path} is a {found} model, not {mode}; ask for {found} or name the {mode} weights")
    configs = _configs(CausalConfig, weights, CAUSAL_MODELS[found], must_state="local_attn_size")
    return _choose(cls or CausalWanModel, configs, weights), weights, found


def load_causal(
    path: Path | str,
    *,
    device: Device,
    dtype: torch.dtype,
    cls: type[CausalWanModel] | None = None,
    mode: str | None = None,
    finish: Finish | None = None,
) -> tuple[CausalWanModel, str]:
    model, weights, found = open_causal(path, mode, cls)
    return load_into(model, weights, dtype=dtype, device=device, finish=finish), found


def open_wan(
    path: Path | str,
    model_type: str | None = None,
    cls: type[WanModel] | None = None,
    loras: Iterable[tuple[Lora, float]] = (),
) -> tuple[WanModel, Weights]:
    """One expert of Wan2.2 A14B without memory, and its weights: "t2v" or "i2v" by the condition it reads beside the latents.
    Which of the two experts a file is (high or low noise) does not show in it."""
    from wan.modules.model import WanModel

    weights = open_weights(path).of(EXPERT)
    configs = _configs(WanConfig, weights, *WAN_MODELS.values())
    configs = [replace(c, model_type="i2v" if c.in_dim > c.out_dim else "t2v") for c in configs]
    model = _choose(cls or WanModel, configs, weights)
    found = model.config.model_type
    if model_type not in (None, found):
        raise ValueError(f"{path} is a {found} expert, not {model_type}; ask for {found} or name {model_type} weights")
    return model, merged(weights, loras)


def load_wan(
    path: Path | str,
    *,
    device: Device,
    dtype: torch.dtype,
    cls: type[WanModel] | None = None,
    model_type: str | None = None,
    finish: Finish | None = None,
    loras: Iterable[tuple[Lora, float]] = (),
) -> WanModel:
    model, weights = open_wan(path, model_type, cls, loras)
    return load_into(model, weights, dtype=dtype, device=device, finish=finish)


def wan_config(path: Path | str) -> WanConfig:
    """The architecture that `load_wan` finds in the weights, without loading them."""
    return open_wan(path)[0].config


def skeleton(
    path: Path | str,
    dtype: torch.dtype,
    cls: type[WanModel],
    finish: Finish,
    loras: Iterable[tuple[Lora, float]] = (),
) -> tuple[WanModel, int]:
    """What `load_wan` would make, without memory, for counting; and how many of its bytes are in the file as they stand."""
    model, weights = open_wan(path, cls=cls, loras=loras)
    return finished_skeleton(model, weights, dtype, finish), weights.stored


def load_vae(path: Path | str, *, device: Device, dtype: torch.dtype) -> WanVAE:
    from wan.modules.vae import WanVAE

    weights = open_weights(path).of(VAE)
    model = _choose(WanVAE, _configs(VAEConfig, weights, WAN21_VAE), weights)
    return load_into(model, weights, dtype=dtype, device=device)


def load_tiny_vae(path: Path | str, *, device: Device, dtype: torch.dtype) -> TinyVAE:
    from wan.modules.tiny_vae import TinyVAE

    weights = open_weights(path).of(TINY_VAE)
    with torch.device("meta"):
        model = TinyVAE()
    return load_into(model, weights, dtype=dtype, device=device)


def load_clip(path: Path | str, *, device: Device, dtype: torch.dtype) -> CLIPVision:
    from wan.modules.clip import CLIPVision

    weights = open_weights(path).of(IMAGE_ENCODER)
    model = _choose(CLIPVision, _configs(CLIPConfig, weights, CLIP_VIT_H_14), weights)
    return load_into(model, weights, dtype=dtype, device=device)


def load_t5(path: Path | str, *, device: Device, dtype: torch.dtype, finish: Finish | None = None) -> T5Encoder:
    from wan.modules.t5 import T5Encoder

    weights = open_weights(path).of(TEXT_ENCODER)
    model = _choose(T5Encoder, _configs(T5Config, weights, UMT5_XXL), weights)
    return load_into(model, weights, dtype=dtype, device=device, finish=finish)


def _choose(cls: type[Model], configs: Iterable[Any], weights: Weights) -> Model:
    """A model on the meta device from the first config that has exactly the file's tensors; if none has, the nearest."""
    nearest, distance = None, math.inf
    for model in filter(None, (_built(cls, config) for config in configs)):
        wrong = sum(map(len, faults(model, weights).values()))
        if wrong < distance:
            nearest, distance = model, wrong
        if not wrong:
            break
    assert nearest is not None
    return nearest


def _built(cls: type[Model], config: Any) -> Model | None:
    try:
        with torch.device("meta"):
            return cls(config)
    except (RuntimeError, ArithmeticError, IndexError, AssertionError):  # of a config.json, by its sizes
        return None


def _configs(cls: type[Config], weights: Weights, *released: Config, must_state: str | None = None) -> list[Config]:
    values = read_config(weights.path)
    if values is None:
        return list(released)
    if must_state and must_state not in values:
        log.info("%s: its config.json does not state %s and is passed over", weights.path, must_state)
        return list(released)
    longest = max((side for shape in weights.shapes.values() for side in shape), default=0)
    beside = parse_config(cls, values, len(weights.parts), longest)
    return [beside, *released] if beside else list(released)
