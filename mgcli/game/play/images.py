"""A start image from the browser: bytes of a stranger, decoded within limits."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from wan.game.conditions import fit, open_image

LARGEST_FILE = 16 * 2**20
MOST_PIXELS = 40_000_000
FORMATS = ("JPEG", "PNG", "WEBP")  # and none of the decoders nobody asked for


class Upload(io.BytesIO):
    """What errors call it: it has no name that we would repeat."""

    def __str__(self) -> str:
        return "the image"


def decode_image(data: bytes, height: int, width: int) -> Image.Image:
    """As the world will see it. The size is read from the header before anything is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as header:
            across, down = header.size
    except UnidentifiedImageError:
        raise ValueError("the image cannot be read: drop a PNG, JPEG or WebP file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what broken files raise
        raise ValueError(f"the image is damaged or too large ({error}): save it again, smaller") from None
    if across * down > MOST_PIXELS:
        raise ValueError(f"the image is {across}x{down}: scale it to at most {MOST_PIXELS // 10**6} megapixels")
    return fit(open_image(Upload(data)), height, width)
