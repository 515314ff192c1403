"""The work behind `mg convert` and `wan22 convert`: what kind of model a file is, and its weights in 8 bits. Imports torch."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mgcli.app.console import console
from mgcli.app.devices import device_and_dtype
from mgcli.app.models import checkpoint_file
from wan.config import CAUSAL_MODELS, WAN_MODELS
from wan.fast.causal import OptimizedCausalWanModel
from wan.fast.expert import OptimizedWanModel
from wan.fast.fp8 import quantise_block
from wan.files.checkpoint import open_causal, open_wan
from wan.files.converting import convert
from wan.files.key_names import EXPERT, GAME
from wan.files.loading import Finish, parts_of
from wan.files.weights import Weights, open_weights
from wan.refusal import Refusal


def convert_file(model: str, output: Path, device_name: str, overwrite: bool) -> dict[str, Any]:
    source = checkpoint_file(model)
    check_output(output, source, overwrite)
    skeleton, weights = opened(source)
    device, _ = device_and_dtype(device_name, "auto")
    finish = Finish(block=quantise_block, through=device)
    started = time.perf_counter()
    with console.progress("part", len(parts_of(skeleton))) as bar:
        for _ in convert(skeleton, weights, finish, torch.bfloat16, output):
            bar.advance()
    write_config(skeleton.config, output)
    return {"file": str(output), "bytes": output.stat().st_size, "seconds": round(time.perf_counter() - started, 1)}


def opened(path: Path) -> tuple[Any, Weights]:
    holds = open_weights(path).holds
    if holds == GAME:
        model, weights, _ = open_causal(path, cls=OptimizedCausalWanModel)
        return model, weights
    if holds == EXPERT:
        return open_wan(path, cls=OptimizedWanModel)
    raise ValueError(f"{path} holds {holds}; what has 8-bit products is {EXPERT} or {GAME}")


def check_output(output: Path, source: Path, overwrite: bool) -> None:
    if output.suffix != ".safetensors":
        raise Refusal(f"{output} must end with .safetensors", "output")
    if output.exists() and source.exists() and output.samefile(source):
        raise Refusal(f"{output} is the model itself; choose another name", "output")
    if output.exists() and not overwrite:
        raise Refusal(f"{output} is there already; choose another name, or replace it", "overwrite")
    if not output.parent.is_dir():
        raise Refusal(f"no such folder: {output.parent}", "output")


def write_config(config: Any, output: Path) -> None:
    """A model that is no released one needs to say how large it is, as the one it was made from did."""
    beside = output.with_name("config.json")
    if config not in (*CAUSAL_MODELS.values(), *WAN_MODELS.values()) and not beside.exists():
        beside.write_text(json.dumps(asdict(config)))
