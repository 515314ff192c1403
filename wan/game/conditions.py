"""From a start image to what the model is conditioned on: CLIP features, and VAE latents with a mask.

The model is given the latents of a video whose first frame is the image and whose others are empty. They stop changing
a few latent frames in, once the encoder no longer sees the image, so a short encoding stands for any length: the
condition of an endless stream is as small as that of one block.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from wan.image import ImageEncoder, masked

SMALLEST_SIDE = 16
# Latent frames within which an encoding has settled, generously; encode_image stops by itself when it has.
ENOUGH_FRAMES = 64


class VisionTower(Protocol):
    def encode(self, image: Tensor) -> Tensor: ...


def open_image(path: str | Path | BinaryIO) -> Image.Image:
    """An image the right way up, in RGB; what is transparent becomes white."""
    if isinstance(path, str | Path) and Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir():
        raise ValueError(f"{path} is a pipe or a device: give an image file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = ImageOps.exif_transpose(Image.open(path))
            image.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        most = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise ValueError(f"{path} has more than {most:.0f} megapixels: scale it down") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that can be read: give a PNG, JPEG or WebP file") from None
    except (OSError, SyntaxError) as error:  # PIL raises both for broken files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} is a damaged image ({error}): save it again") from None
    if min(image.size) < SMALLEST_SIDE:
        size = f"{image.width}x{image.height}"
        raise ValueError(f"{path} is {size} pixels: a start image needs at least {SMALLEST_SIDE} on each side")
    return _without_alpha(_in_8_bits(image, path))


def _in_8_bits(image: Image.Image, path: object) -> Image.Image:
    """What has finer greys is scaled to 8 bits; Pillow would cut it off, to white or to black."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # its greys have 16 bits
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"{path} has greys of 32 bits (mode {image.mode}), and nothing says which of them is white: save it with 8 or 16"
        )
    return image


def _without_alpha(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def fit(image: Image.Image, height: int, width: int) -> Image.Image:
    """The middle of the image in the shape of the video, then resized, as the official tools do it."""
    left, right = _middle(image.width, image.height * width / height)
    top, bottom = _middle(image.height, image.width * height / width)
    return image.crop((left, top, right, bottom)).resize((width, height), Image.Resampling.BILINEAR)


def _middle(length: int, wanted: float) -> tuple[int, int]:
    """Where the middle of a side begins and ends; a side that is shorter than wanted is taken whole."""
    margin = (length - min(int(wanted), length)) / 2
    return round(margin), round(length - margin)  # the even neighbour of a half, as PIL has it


def image_tensor(image: Image.Image, height: int, width: int) -> Tensor:
    """(3, height, width) in [-1, 1]."""
    pixels = np.asarray(fit(image, height, width), np.float32) / 127.5 - 1
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class ImageCondition:
    visual_context: Tensor  # (B, tokens, channels) of the vision tower
    concat: Tensor  # (B, 4 + 16, n, h, w): mask and latents; the last frame stands for all later ones

    def block(self, latent: range) -> Tensor:
        given = self.concat[:, :, latent.start : latent.stop]
        missing = len(latent) - given.shape[2]
        if not missing:
            return given
        return torch.cat([given, self.concat[:, :, -1:].expand(-1, -1, missing, -1, -1)], dim=2)


@torch.no_grad()
def image_condition(images: Tensor, vae: ImageEncoder, clip: VisionTower) -> ImageCondition:
    """`images` (B, 3, H, W) in [-1, 1]."""
    latents = _settled(vae.encode_image(images, ENOUGH_FRAMES))
    return ImageCondition(clip.encode(images), masked(latents))


def _settled(latents: Tensor) -> Tensor:
    """Without the repetitions at its end; two frames at least, for the mask knows the first one from the others."""
    changing = (latents != latents[:, :, -1:]).any(dim=(0, 1, 3, 4)).nonzero()
    last = int(changing.max()) if len(changing) else 0
    return latents[:, :, : max(last + 2, 2)].clone()
