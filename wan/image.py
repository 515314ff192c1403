"""What an image to begin with is to a model: the latents of a video whose other frames are empty, behind a mask that says so."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from wan.latents import TEMPORAL_STRIDE

MASK_CHANNELS = TEMPORAL_STRIDE  # one for each video frame of a latent frame


class ImageEncoder(Protocol):
    def encode_image(self, image: Tensor, latent_frames: int) -> Tensor: ...


def masked(latents: Tensor) -> Tensor:
    """(B, C, F, H, W) of an image and the empty frames behind it -> (B, 4 + C, F, H, W): which frame is given, then what it is."""
    mask = torch.zeros_like(latents[:, :1]).repeat(1, MASK_CHANNELS, 1, 1, 1)
    mask[:, :, 0] = 1
    return torch.cat([mask, latents], dim=1)
