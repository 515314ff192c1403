"""Image to video: the size an image asks for, and the condition (4 mask + 16 latent channels) the model reads beside the latents."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wan.image import ImageEncoder, masked
from wan22.config import LONGEST_SIDE, SIDES, parse_size


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
