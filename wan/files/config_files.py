"""config.json as found beside weights, official or by diffusers and transformers, as our dataclasses.

Only reading and renaming: whether a config is to be believed is decided by the weights (wan.files.checkpoint).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from wan.config import CLIPConfig, T5Config, VAEConfig, WanConfig, from_dict

T = TypeVar("T")
Values = dict[str, Any]


def read_config(path: Path) -> Values | None:
    """config.json in the folder `path`, or beside the file `path`; None where there is none."""
    path = (path if path.is_dir() else path.parent) / "config.json"
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is not JSON; download it again, or remove it if the model is a released one"
        ) from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a config: a JSON object is needed")
    return values


def parse_config(cls: type[T], values: Values) -> T | None:
    """`values` as a config of this class, or None where they are not one."""
    sign, read = FOREIGN.get(cls, ("", dict))
    try:
        config = from_dict(cls, read(values) if sign in values else values)
    except (KeyError, TypeError, ZeroDivisionError):  # a field it needs is not there, or has nonsense in it
        return None
    return config if _like(config, cls()) else None


def _like(value: Any, default: Any) -> bool:
    """Of the same type all the way down, so that no model is built from words."""
    if dataclasses.is_dataclass(default) and value is not None:
        names = [field.name for field in dataclasses.fields(default)]
        return all(_like(getattr(value, name), getattr(default, name)) for name in names)
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(isinstance(item, (int, float)) for item in value)
    return value is None or isinstance(value, (int, float) if isinstance(default, float) else type(default))


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
