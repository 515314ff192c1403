"""What a run needs on the device, estimated from its plan: which residency fits, by how many strips the VAE does, and what to
say when it did not suffice."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch

from wan.config import WanConfig
from wan.device import GIB
from wan.fast.expert import OptimizedWanModel
from wan.fast.fp8 import quantise
from wan.modules.streaming import StreamedDecoder
from wan.modules.strip_memory import fewest
from wan.refusal import Refusal
from wan22.config import Residency

LITTLE = 3 * GIB
Phase = Literal["text", "image", "denoise", "decode"]
# of less memory than a residency: what to do, and the settings that do it
LIGHTER = {
    "both": ("hold one expert at a time", "residency one"),
    "one": ("stream it block by block", "residency stream"),
    "stream": ("make a smaller or a shorter video", "size", "frame_num"),
}


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


def usable_bytes(device: torch.device) -> float:
    """What is free on a device, with a tenth to spare; no limit where the host's memory is the device's."""
    if device.type != "cuda":
        return math.inf
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return 0.9 * (torch.cuda.mem_get_info(device)[0] + unused)


def choose_strips(decoder: StreamedDecoder, latents: tuple[int, int, int], usable: float, little: bool = False) -> int:
    """The fewest strips in which these latents (frames, height, width) are decoded in so many bytes; if it is to be in
    `little` memory, two at least, and with the weights no more than 3 GiB where that can be."""
    most = max(latents[1:])
    if little:
        usable = min(usable, LITTLE - sum(p.nbytes for p in decoder.parameters()))
    count = fewest(partial(decoder.strip_bytes, latents), usable, most)
    return max(count, min(2, most)) if little else count


def auto_residency(
    config: WanConfig, dtype: torch.dtype, tokens: int, device: torch.device, fp8: bool = False
) -> Residency:
    if device.type != "cuda":
        return "one"  # the host's memory is the device's: what has done its work is let go
    free, _ = torch.cuda.mem_get_info(device)
    return choose_residency(free, expert_bytes(config, dtype, fp8), activation_bytes(config, tokens))


def explain(phase: Phase, residency: Residency, expert: int, activations: int, tiled: bool) -> Refusal:
    """A run that did not fit: what took the memory, and which settings take less."""
    if phase == "text":
        return Refusal("out of device memory in the text encoder; run it on the host", "t5_cpu")
    if phase in ("image", "decode"):
        said = f"out of device memory in the VAE ({phase}), one latent frame at a time"
        if phase == "image" or tiled:  # it is encoded by as many strips as are needed
            return Refusal(f"{said}; use a smaller size", "size")
        return Refusal(f"{said}; decode by strips", "vae_tiling")
    resident = {"both": 2 * expert, "one": expert, "stream": 0}[residency]
    advice, *settings = LIGHTER[residency]
    return Refusal(
        f"out of device memory: {resident / GIB:.1f} GiB of weights (residency {residency}) and about"
        f" {activations / GIB:.1f} GiB of activations; {advice}",
        *settings,
    )
