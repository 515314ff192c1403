"""What given frames are to a model: the latents of a video whose other frames are empty, behind a mask that says which are given.

Most often that is one image to begin with.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import torch
from torch import Tensor

from wan.latents import TEMPORAL_STRIDE, video_frames

MASK_CHANNELS = TEMPORAL_STRIDE  # one for each video frame of a latent frame


class ImageEncoder(Protocol):
    def encode_image(self, image: Tensor, latent_frames: int) -> Tensor: ...


def masked(latents: Tensor, given: Collection[int] = (0,)) -> Tensor:
    """(B, C, F, H, W) of given video frames and empty ones -> (B, 4 + C, F, H, W): which are given, then what they are."""
    batch, _, frames, *size = latents.shape
    # the first latent frame is one video frame, which stands in its mask four times
    video = [0] * (MASK_CHANNELS - 1) + list(range(video_frames(frames)))
    flags = torch.tensor([float(frame in given) for frame in video]).view(frames, MASK_CHANNELS).T
    mask = flags.to(latents)[None, :, :, None, None].expand(batch, -1, -1, *size)
    return torch.cat([mask, latents], dim=1)
