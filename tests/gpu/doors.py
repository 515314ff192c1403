"""Worlds through the door that the commands use: models as `mg generate` opens them, started and rolled out. Beside it what is
asked of anything that comes out: the same, another, how far apart.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mgcli.game.batch import random_script
from mgcli.game.request import GenerateRequest, game_request
from mgcli.game.worlds import open_models
from tests.gpu.leg import Failed, Setting
from wan.game.conditions import open_image
from wan.game.models import GameModels
from wan.game.rollout import rollout, scripted
from wan.game.timeline import video_frames
from wanmini.start_image import GARDEN, VALLEY

BLOCKS = 4  # the window of 6 latent frames is full after 2
IMAGES = (GARDEN, VALLEY)


# Worlds ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Played:
    """What a world showed, on the host."""

    latents: Tensor  # [B, 16, n, h, w]
    video: Tensor  # uint8 [B, frames, H, W, 3]


def opened(setting: Setting, mode: str = "universal", **flags: Any) -> tuple[GameModels, GenerateRequest]:
    """The release as `mg generate --checkpoint_path` opens it."""
    height, width = setting.game_size
    given = {"checkpoint_path": str(setting.checkpoint(mode)), "height": height, "width": width}
    return opened_with(given | flags)


def opened_with(flags: dict[str, Any]) -> tuple[GameModels, GenerateRequest]:
    request = game_request(GenerateRequest, flags)
    return open_models(request), request


def played(
    models: GameModels,
    request: GenerateRequest,
    images: Sequence[Path | Image.Image] = (GARDEN,),
    seeds: Sequence[int] = (0,),
    blocks: int = BLOCKS,
    size: tuple[int, int] | None = None,
) -> Played:
    """A world, or a batch of them, from its start; it is let go before this returns."""
    height, width = size or (request.height, request.width)
    pictures = [image if isinstance(image, Image.Image) else open_image(image) for image in images]
    frames = video_frames(blocks * request.num_frame_per_block)
    scripts = [random_script(models.mode, seed, frames) for seed in range(len(pictures))]
    world = models.start(pictures, seeds, request.sampling(), height, width)
    made = [(host(b.latents), host(b.video)) for b in rollout(world, scripted(scripts), blocks)]
    latents, video = (torch.cat(parts, dim) for parts, dim in zip(zip(*made), (2, 1)))
    if video.shape != (len(pictures), frames, height, width, 3):
        raise Failed(f"{tuple(video.shape)} is not {frames} frames of {height}x{width}")
    if not latents.isfinite().all():
        raise Failed("latents are not finite")
    return Played(latents, video)


def host(tensor: Tensor) -> Tensor:
    """A copy: what a graph writes is written again."""
    return tensor.detach().to("cpu", copy=True)


def free() -> None:
    """What was let go, back to the GPU."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


# What is asked of it --------------------------------------------------------------------------------------------------


def same(got: Played, want: Played, what: str) -> None:
    """Bit for bit, latents and pictures."""
    same_tensor(got.latents, want.latents, f"{what}: latents", frames=2)
    same_tensor(got.video, want.video, f"{what}: pictures", frames=1)


def same_tensor(got: Tensor, want: Tensor, what: str, frames: int) -> None:
    """Bit for bit, else from where on not; `frames` is the dimension of time."""
    if got.shape != want.shape:
        raise Failed(f"{what} are {tuple(got.shape)}, not {tuple(want.shape)}")
    if not torch.equal(got, want):
        apart = (got.double() - want.double()).abs()
        first = int(apart.movedim(frames, 0).flatten(1).amax(1).nonzero()[0])
        raise Failed(f"{what} differ from frame {first} on, by up to {apart.max():.3g}, {relative(got, want):.2%}")


def another(got: Played, want: Played, what: str) -> None:
    """Far apart, as two different worlds are."""
    if (how_far := relative(got.latents, want.latents)) < 0.05:
        raise Failed(f"{what}: the same world, {how_far:.2%} apart")


def relative(got: Tensor, want: Tensor) -> float:
    """Distance as a share of what is expected."""
    return ((got.double() - want.double()).norm() / want.double().norm()).item()


def decibels(got: Any, want: Any) -> float:
    """PSNR of pictures of 8 bits, tensors or arrays."""
    error = np.square(np.asarray(got, float) - np.asarray(want, float)).mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def at_least(decibels: float, floor: float, what: str) -> None:
    if not decibels >= floor:
        raise Failed(f"{what}: {decibels:.1f} dB, not {floor:g}")


def memory(device: int = 0) -> tuple[int, int]:
    """Bytes allocated and reserved; nothing on a CPU."""
    if not torch.cuda.is_available():
        return 0, 0
    torch.cuda.synchronize(device)
    return torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
