"""Image to video: the frames that are given, the size they ask for, and the condition (4 mask + 16 latent channels) that the model
reads beside the latents.

The mask has a channel for each video frame of a latent frame, so the format holds more than a first frame: several to go on
from, and a last one. The family's first paper (Wan 2.1) says that its model was trained on all of these tasks; of Wan2.2 nobody does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wan.image import ImageEncoder, masked
from wan.latents import video_frames
from wan.modules.vae import WanVAE
from wan.refusal import Refusal
from wan22.config import LONGEST_SIDE, SIDES, parse_size


@dataclass(frozen=True)
class GivenFrames:
    """What a video begins with, one image or the frames it goes on from, and perhaps what it ends with."""

    first: tuple[Image.Image, ...]
    last: Image.Image | None = None

    def size(self, size: str) -> str:
        """Of the video: the images' own shape at about the area of `size`."""
        wanted = size_for(self.first[0], size)
        if self.last is not None and size_for(self.last, size) != wanted:
            first, last = (f"{image.width}x{image.height}" for image in (self.first[0], self.last))
            raise Refusal(f"the last frame is {last} and the first {first}: crop them to one shape", "last_image")
        return wanted

    def condition(self, width: int, height: int, frames: int, latent_frames: int, vae: WanVAE) -> Tensor:
        """(1, 20, latent_frames, H/8, W/8) for a video of `frames`, on the device of the VAE."""
        device = next(vae.parameters()).device
        first = [image_tensor(image, width, height).to(device) for image in self.first]
        last = None if self.last is None else image_tensor(self.last, width, height).to(device)
        if len(first) == 1 and last is None:
            return image_condition(first[0], latent_frames, vae)
        return frames_condition(first, last, frames, latent_frames, vae)


def size_for(image: Image.Image, size: str) -> str:
    """The image's own shape at about the area of `size`, in multiples of 16: image to video never crops."""
    width, height = parse_size(size)
    area, aspect = width * height, image.height / image.width
    rows, columns = (int(math.sqrt(side) // SIDES) * SIDES for side in (area * aspect, area / aspect))
    if not rows * columns or max(rows, columns) > LONGEST_SIDE:
        raise ValueError(
            f"an image of {image.width}x{image.height} is too narrow for a video of the area of {size}; crop it"
        )
    return f"{columns}*{rows}"


def image_tensor(image: Image.Image, width: int, height: int) -> Tensor:
    """(1, 3, H, W) in [-1, 1]; resized without antialiasing, as upstream does, because the model was trained on it."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"), np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    return F.interpolate(pixels, size=(height, width), mode="bicubic")


def image_condition(image: Tensor, latent_frames: int, vae: ImageEncoder) -> Tensor:
    """(1, 20, latent_frames, H/8, W/8) for `image` (1, 3, H, W)."""
    return masked(vae.encode_image(image, latent_frames).float())


def frames_condition(first: list[Tensor], last: Tensor | None, frames: int, latent_frames: int, vae: WanVAE) -> Tensor:
    """(1, 20, latent_frames, H/8, W/8) for images (1, 3, H, W): `first` from the first frame on, `last` at the end of `frames`."""
    given = dict(enumerate(first)) | ({} if last is None else {frames - 1: last})
    video = first[0].new_zeros(1, 3, video_frames(latent_frames), *first[0].shape[2:])
    for number, image in given.items():
        video[:, :, number] = image
    return masked(vae.encode(video).float(), given)
