"""What a run needs on the device and on the host, estimated from its plan and its weights: which residency fits, by how many
strips the VAE does, and what to say when that did not suffice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch

from wan.config import WanConfig
from wan.device import GIB, device_available, host_available
from wan.fast.expert import OptimizedWanModel
from wan.fast.fp8 import quantise
from wan.fast.offload import RING
from wan.latents import latent_frames_for, video_frames
from wan.modules.model import WanModel
from wan.modules.streaming import StreamedDecoder
from wan.modules.strip_memory import fewest
from wan.refusal import Refusal
from wan22.config import Residency
from wan22.plan import PlannedVideo

# the fastest first, if weights are computed while they are read
RESIDENCIES: tuple[Residency, ...] = get_args(Residency)

LITTLE = 3 * GIB
BESIDE = 150 * 2**20  # bytes that a forward takes at any length
Phase = Literal["text", "image", "denoise", "decode"]
# of less memory than a residency: what to do, and the settings that do it
LIGHTER = {
    "both": ("hold one expert at a time", "residency one"),
    "one": ("stream it block by block", "residency stream"),
    "stream": ("make a smaller or a shorter video", "size", "frame_num"),
    "disk": ("make a smaller or a shorter video", "size", "frame_num"),
}


@dataclass(frozen=True)
class Needs:
    """Bytes."""

    expert: int  # the weights of one
    block: int  # of them, those of its largest layer
    rest: int  # and those outside of the layers
    activations: int
    as_stored: bool = False  # weights are in memory as in their file: nothing is computed of them on the way

    @property
    def fastest_first(self) -> tuple[Residency, ...]:
        """What is read as it is stored comes from the system's cache of files faster than pinned memory is made for it."""
        return (*RESIDENCIES[:2], *reversed(RESIDENCIES[2:])) if self.as_stored else RESIDENCIES

    def on_device(self, residency: Residency) -> int:
        # of a streamed one: a layer that computes, and one that comes
        resident = {"both": 2 * self.expert, "one": self.expert}.get(residency, self.rest + 2 * self.block)
        return resident + self.activations

    def on_host(self, residency: Residency, ahead: bool = False) -> int:
        """Beside what any program of this kind takes."""
        return {"stream": self.expert, "disk": RING * self.block, "one": self.expert * ahead}.get(residency, 0)

    def fit(self, residency: Residency, device: int, host: int) -> bool:
        """In these bytes of device memory, with a tenth to spare for fragments, and of the host's."""
        return self.on_device(residency) <= 0.9 * device and self.on_host(residency) <= 0.9 * host


def needs(model: WanModel, tokens: int, stored: int = 0) -> Needs:
    """Counted on a model without memory, whose weights are held as they will be; its file has `stored` bytes of them."""
    blocks = [sum(p.nbytes for p in block.parameters()) for block in model.blocks]
    whole = sum(p.nbytes for p in model.parameters())
    as_stored = abs(whole - stored) < 0.05 * whole
    return Needs(whole, max(blocks), whole - sum(blocks), activation_bytes(model.config, tokens), as_stored)


def released_model(config: WanConfig, dtype: torch.dtype, fp8: bool = False) -> WanModel:
    """Without memory, as an official file makes it."""
    with torch.device("meta"):
        model = OptimizedWanModel(config).to(dtype)
    if fp8:
        quantise(model)
    return model


def activation_bytes(config: WanConfig, tokens: int) -> int:
    """What one forward needs beside the weights, at its peak: per token the float32 stream with its normed and modulated
    copies, and the hidden states. Fitted to what was measured on an H200 at 20,280, 32,760 and 75,600 tokens, within 2 %."""
    return tokens * (20 * config.dim + 4 * config.ffn_dim) + BESIDE


def choose_residency(needs: Needs, device: int, host: int) -> Residency:
    """The fastest that fits; if none does, that which needs least."""
    return next((residency for residency in needs.fastest_first if needs.fit(residency, device, host)), "disk")


def usable_bytes(device: torch.device) -> float:
    """What is free on a device, with a tenth to spare; no limit where the host's memory is the device's."""
    if device.type != "cuda":
        return math.inf
    return 0.9 * device_available(device)


def choose_strips(decoder: StreamedDecoder, latents: tuple[int, int, int], usable: float, little: bool = False) -> int:
    """The fewest strips in which these latents (frames, height, width) are decoded in so many bytes; if it is to be in
    `little` memory, two at least, and with the weights no more than 3 GiB where that can be."""
    most = max(latents[1:])
    if little:
        usable = min(usable, LITTLE - sum(p.nbytes for p in decoder.parameters()))
    count = fewest(partial(decoder.strip_bytes, latents), usable, most)
    return max(count, min(2, most)) if little else count


def auto_residency(needs: Needs, device: torch.device) -> Residency:
    if device.type != "cuda":
        return "one"  # the host's memory is the device's: what has done its work is let go
    return choose_residency(needs, device_available(device), host_available())


def check_fits(needs: Needs, video: PlannedVideo, device: torch.device) -> None:
    """Refuse what the device cannot hold in any residency, naming what it can; on a CPU, what its host has no room for."""
    own = device.type == "cuda"
    least, there = (
        (needs.on_device("disk"), 0.97 * device_available(device)) if own else (needs.activations, host_available())
    )
    if least <= there:
        return
    tokens = int((there - least + needs.activations) / needs.activations * video.tokens)
    rows = video.tokens // latent_frames_for(video.request.frame_num)  # of a latent frame
    frames = video_frames(max(1, tokens // rows))
    if tokens < rows:
        raise Refusal(
            f"{least / GIB:.1f} GiB of memory are the least for this size, even layer by layer; {there / GIB:.1f} are there:"
            " make it smaller",
            "size",
        )
    raise Refusal(
        f"{least / GIB:.1f} GiB of memory are the least for {video.request.frame_num} frames of this size, even layer by"
        f" layer; {there / GIB:.1f} are there, enough for {frames} frames",
        f"frame_num {frames}",
        "size",
    )


def explain(phase: Phase, residency: Residency, needs: Needs, tiled: bool) -> Refusal:
    """A run that did not fit: what took the memory, and which settings take less."""
    if phase == "text":
        return Refusal("out of device memory in the text encoder; run it on the host", "t5_cpu")
    if phase in ("image", "decode"):
        said = f"out of device memory in the VAE ({phase}), one latent frame at a time"
        if phase == "image" or tiled:  # it is encoded by as many strips as are needed
            return Refusal(f"{said}; use a smaller size", "size")
        return Refusal(f"{said}; decode by strips", "vae_tiling")
    advice, *settings = LIGHTER[residency]
    return Refusal(
        f"out of device memory: {(needs.on_device(residency) - needs.activations) / GIB:.1f} GiB of weights"
        f" (residency {residency}) and about {needs.activations / GIB:.1f} GiB of activations; {advice}",
        *settings,
    )
