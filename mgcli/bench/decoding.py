"""Decoding: the streaming decode of a block, and of a whole clip one latent frame at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mgcli.bench.ladder import Calls, Case, Kind, Rung
from mgcli.bench.random_weights import random_model
from mgcli.bench.sizes import Draw, GameSize
from mgcli.bench.work import Work, vae_decode, vae_decode_clip
from wan.config import VAEConfig
from wan.fast.speed import Speed
from wan.game.rollout import LATENT_CHANNELS
from wan.latents import video_frames
from wan.modules.streaming import StreamedDecoder
from wan.modules.tiny_vae import TinyVAE
from wan.modules.vae import WanVAE

OpenDecoder = Callable[[VAEConfig, torch.device, torch.dtype], StreamedDecoder]


def reference(config: VAEConfig, device: torch.device, dtype: torch.dtype) -> StreamedDecoder:
    return random_model(lambda: WanVAE(config), device, dtype)


def fused(config: VAEConfig, device: torch.device, dtype: torch.dtype) -> StreamedDecoder:
    return Speed().decoder(random_model(lambda: WanVAE(config), device, dtype))


def tiny(_: VAEConfig, device: torch.device, dtype: torch.dtype) -> StreamedDecoder:
    """For any VAE's latents."""
    return random_model(TinyVAE, device, dtype)


@dataclass(frozen=True)
class DecodingWay:
    name: str
    open: OpenDecoder
    kind: Kind = "exact"


WAYS = (
    DecodingWay("reference", reference),
    DecodingWay("+ fused kernels", fused),
    DecodingWay("+ tiny VAE", tiny, "lossy"),
)


def stream_case(size: GameSize, device: torch.device) -> Case:
    opens = partial(open_stream, size, device)
    return Case(
        name="decode",
        title=f"VAE, streaming decode of {4 * size.block} frames",
        rungs=tuple(
            Rung(w.name, partial(opens, w.open, size.vae_dtype), w.kind)
            for w in WAYS
            if size.tiny_vae or w.open is not tiny
        ),
        dtype=size.vae_dtype,
        work=stream_work(size),
        truth=partial(opens, reference, torch.float32),
        goal_ms=size.goals.get("decode"),
        frames=4 * size.block,
    )


def stream_work(size: GameSize) -> Work:
    return vae_decode(size.vae, size.block, *size.latent)


def open_stream(size: GameSize, device: torch.device, open_decoder: OpenDecoder, dtype: torch.dtype) -> Calls:
    """A clip chunk by chunk, the first one special and two later ones; and then its last chunk again and again."""
    decoder, chunks = open_decoder(size.vae, device, dtype), stream_chunks(size, device)
    state = decoder.new_state()

    def all_chunks() -> Tensor | None:
        frames = torch.cat([decoder.decode_chunk(chunk, state) for chunk in chunks], dim=2)
        # untrained, the tiny VAE has nothing in common with the VAE; the picture ends at -1 and 1
        return None if open_decoder is tiny else frames.float().clamp(-1, 1)

    return Calls(all_chunks, lambda: decoder.decode_chunk(chunks[-1], state))


def stream_chunks(size: GameSize, device: torch.device) -> list[Tensor]:
    draw = Draw(device, torch.float32)
    return [draw(1, LATENT_CHANNELS, size.block, *size.latent) for _ in range(3)]


def clip_case(name: str, config: VAEConfig, latents: tuple[int, int, int], device: torch.device, dtype: torch.dtype, goal_ms: float | None) -> Case:  # fmt: skip
    """A whole clip of `latents` frames, height and width, as wan22 decodes it; the tiny VAE is not offered there."""
    opens = partial(open_clip, config, latents, device)
    frames = video_frames(latents[0])
    return Case(
        name=name,
        title=f"VAE, decode of {frames} frames, {str(dtype).removeprefix('torch.')}",
        rungs=tuple(Rung(w.name, partial(opens, w.open, dtype), w.kind) for w in WAYS if w.kind == "exact"),
        dtype=dtype,
        work=vae_decode_clip(config, *latents),
        truth=partial(opens, reference, torch.float32),
        goal_ms=goal_ms,
        frames=frames,
    )


def open_clip(config: VAEConfig, shape: tuple[int, int, int], device: torch.device, open_decoder: OpenDecoder, dtype: torch.dtype) -> Calls:  # fmt: skip
    decoder = open_decoder(config, device, dtype)
    latents = Draw(device, torch.float32)(1, LATENT_CHANNELS, *shape)
    return Calls(lambda: decoder.decode(latents), lambda: decoder.decode(latents))
