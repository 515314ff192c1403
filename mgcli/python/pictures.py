"""An image as Python has it: the name of a file, what PIL has opened, or an array. Requests and their records name files, so what
is none becomes one, for as long as somebody needs it.
"""

from __future__ import annotations

import shutil
import weakref
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from PIL import Image

from mgcli.app.recording import beside

Picture = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class PictureFile:
    path: Path
    from_memory: bool = False  # then the file goes with its last user

    def copy(self, path: Path) -> None:
        shutil.copyfile(self.path, path)


def picture_beside(video: Path, name: str = "image") -> Path:
    """Where an image that had no file goes, so that the record can name one."""
    return beside(video, f"_{name}", ".png")


def as_file(picture: Picture) -> PictureFile:
    if isinstance(picture, str | Path):
        return PictureFile(Path(picture))
    if not isinstance(picture, Image.Image | np.ndarray):
        raise TypeError(f"an image is the name of a file, a PIL image or an array, not {type(picture).__name__}")
    folder = Path(mkdtemp(prefix="mgcli_"))
    file = PictureFile(folder / "picture.png", from_memory=True)
    weakref.finalize(file, shutil.rmtree, folder, ignore_errors=True)
    (_from_array(picture) if isinstance(picture, np.ndarray) else picture).save(file.path)
    return file


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError(f"an image of {pixels.dtype} {pixels.shape}: give uint8 (height, width, 3)")
    return Image.fromarray(pixels)
