"""What a run needs on the device, estimated from its plan: which residency fits, and what to say when it did not."""

from __future__ import annotations

from typing import Literal

import torch

from wan.config import WanConfig
from wan.device import GIB
from wan.fast.expert import OptimizedWanModel
from wan.fast.fp8 import quantise

Residency = Literal["both", "one", "stream"]
Phase = Literal["text", "image", "denoise", "decode"]
LIGHTER = {"both": "--residency one", "one": "--residency stream", "stream": "a smaller --size or --frame_num"}


def expert_bytes(config: WanConfig, dtype: torch.dtype, fp8: bool = False) -> int:
    """Weights of one expert, counted on a model without storage."""
    with torch.device("meta"):
        model = OptimizedWanModel(config).to(dtype)
    if fp8:
        quantise(model)
    return sum(p.nbytes for p in model.parameters())


def activation_bytes(config: WanConfig, tokens: int) -> int:
    """What one forward needs beside the weights, at its peak in the feed-forward: per token the float32 stream with its
    normed and modulated copies, and the two hidden states. An estimate to choose by, not a bound."""
    return tokens * (16 * config.dim + 4 * config.ffn_dim)


def choose_residency(free: int, expert: int, activations: int) -> Residency:
    """The fastest that fits in `free` bytes of device memory, with a tenth to spare for fragments."""
    usable = 0.9 * free
    if 2 * expert + activations <= usable:
        return "both"
    return "one" if expert + activations <= usable else "stream"


def auto_residency(
    config: WanConfig, dtype: torch.dtype, tokens: int, device: torch.device, fp8: bool = False
) -> Residency:
    if device.type != "cuda":
        return "one"  # the host's memory is the device's: what has done its work is let go
    free, _ = torch.cuda.mem_get_info(device)
    return choose_residency(free, expert_bytes(config, dtype, fp8), activation_bytes(config, tokens))


def explain(phase: Phase, residency: Residency, expert: int, activations: int, tiled: bool) -> str:
    """One line for a run that did not fit: what took the memory and which flag takes less."""
    if phase == "text":
        return "out of device memory in the text encoder; --t5_cpu runs it on the host"
    if phase in ("image", "decode"):
        lighter = "a smaller --size" if tiled else "--vae_tiling"
        return f"out of device memory in the VAE ({phase}), one latent frame at a time; use {lighter}"
    resident = {"both": 2 * expert, "one": expert, "stream": 0}[residency]
    return (
        f"out of device memory: {resident / GIB:.1f} GiB of weights (residency {residency}) and about"
        f" {activations / GIB:.1f} GiB of activations; use {LIGHTER[residency]}"
    )
