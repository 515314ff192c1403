"""An image as Python has it: the name of a file, what PIL has opened, or an array. Requests and their records name files, so what
is none becomes one, for as long as somebody needs it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

Picture = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class PictureFile:
    path: Path
    _folder: TemporaryDirectory[str] | None = field(default=None, repr=False)  # which goes with its last user

    @property
    def from_memory(self) -> bool:
        return self._folder is not None

    def copy(self, path: Path) -> None:
        shutil.copyfile(self.path, path)


def as_file(picture: Picture) -> PictureFile:
    if isinstance(picture, str | Path):
        return PictureFile(Path(picture))
    folder = TemporaryDirectory(prefix="mgcli_")
    path = Path(folder.name) / "picture.png"
    (_from_array(picture) if isinstance(picture, np.ndarray) else picture).save(path)
    return PictureFile(path, folder)


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError(f"an image of {pixels.dtype} {pixels.shape}: give uint8 (height, width, 3)")
    return Image.fromarray(pixels)
