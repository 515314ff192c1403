"""config.json as found beside weights, official or by diffusers and transformers, as our dataclasses.

Only reading and renaming: whether a config is to be believed is decided by the weights (wan.files.checkpoint).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from wan.config import CLIPConfig, T5Config, VAEConfig, WanConfig, from_dict
from wan.files.text import read_json

T = TypeVar("T")
Values = dict[str, Any]
COUNTS_LAYERS = ("num_layers", "num_res_blocks")  # each has tensors of its own
LONGEST_OF_NO_TENSOR = 4096  # of what is in no shape: the length of a text, the side of an image
LEAST = {"local_attn_size": -1, "sink_size": 0, "blocks[]": 0}


def read_config(path: Path) -> Values | None:
    """config.json in the folder `path`, or beside the file `path`; None where there is none."""
    path = (path if path.is_dir() else path.parent) / "config.json"
    if not path.is_file():
        return None
    try:
        values = read_json(path)
    except ValueError as error:
        raise ValueError(
            f"{path} is not JSON; download it again, or remove it if the model is a released one"
        ) from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a config: a JSON object is needed")
    return values


def parse_config(cls: type[T], values: Values, tensors: int, longest: int) -> T | None:
    """`values` as a config of this class, or None where they are not one, or not of a model that could have this many `tensors`
    of which no side is longer than `longest`: so nothing larger than its file is ever built."""
    sign, rename = FOREIGN.get(cls, ("", dict))
    try:
        config = from_dict(cls, rename(values) if sign in values else values)
    except (KeyError, TypeError, ValueError, ArithmeticError):  # a field it needs is not there, or has nonsense in it
        return None
    return config if _fits("", config, tensors, max(longest, LONGEST_OF_NO_TENSOR)) else None


def _fits(name: str, value: Any, tensors: int, longest: int) -> bool:
    if dataclasses.is_dataclass(value):
        return all(_fits(f.name, getattr(value, f.name), tensors, longest) for f in dataclasses.fields(value))
    if isinstance(value, tuple):
        return len(value) <= tensors and all(_fits(f"{name}[]", item, tensors, longest) for item in value)
    if type(value) is int:
        least = LEAST.get(name, 1)
        return least <= value <= (tensors if name in COUNTS_LAYERS else longest)
    return not isinstance(value, float) or math.isfinite(value)


def _expert(v: Values) -> Values:
    return {
        "patch_size": v["patch_size"],
        "in_dim": v["in_channels"],
        "out_dim": v["out_channels"],
        "dim": v["num_attention_heads"] * v["attention_head_dim"],
        "num_heads": v["num_attention_heads"],
        "cross_attn_norm": v["cross_attn_norm"],
        "qk_norm": v["qk_norm"] is not None,
        **{name: v[name] for name in ("ffn_dim", "freq_dim", "text_dim", "num_layers", "eps")},
    }


def _vae(v: Values) -> Values:
    same = ("z_dim", "dim_mult", "num_res_blocks", "attn_scales", "temperal_downsample", "dropout")
    return {
        "dim": v["base_dim"],
        "mean": v["latents_mean"],
        "std": v["latents_std"],
        **{name: v[name] for name in same},
    }


def _text_encoder(v: Values) -> Values:
    return {
        "vocab": v["vocab_size"],
        "dim": v["d_model"],
        "dim_attn": v["d_kv"] * v["num_heads"],
        "dim_ffn": v["d_ff"],
        "num_heads": v["num_heads"],
        "num_layers": v["num_layers"],
        "num_buckets": v["relative_attention_num_buckets"],
    }


def _image_encoder(v: Values) -> Values:
    return {
        "image_size": v["image_size"],
        "patch_size": v["patch_size"],
        "dim": v["hidden_size"],
        "mlp_ratio": v["intermediate_size"] // v["hidden_size"],
        "out_dim": v["projection_dim"],
        "num_heads": v["num_attention_heads"],
        "num_layers": v["num_hidden_layers"],
        "activation": v["hidden_act"],
        "norm_eps": v["layer_norm_eps"],
    }


# our class -> a field by which the other library's config is known, and how to read it
FOREIGN: dict[type, tuple[str, Callable[[Values], Values]]] = {
    WanConfig: ("attention_head_dim", _expert),
    VAEConfig: ("base_dim", _vae),
    T5Config: ("d_model", _text_encoder),
    CLIPConfig: ("hidden_size", _image_encoder),
}
