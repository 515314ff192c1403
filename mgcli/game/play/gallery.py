"""Start images to choose from: that of the start, the bundled ones, and the latest that came from a page.

A page names them by number, and a number is given once: what has left the gallery is not another image now.
"""

from __future__ import annotations

import io
import itertools
from typing import Any

from PIL import Image

from mgcli.game.play.tape import Start
from wan.game.conditions import fit, open_image
from wanmini.start_image import FOLDER

MOST_OWN = 6
THUMBNAIL_WIDTH = 320


class Gallery:
    def __init__(self, first: Start, height: int, width: int):
        others = (path for path in sorted(FOLDER.iterdir()) if path != first.path)
        self._starts = dict(enumerate([first, *(Start(open_image(path), path, 0) for path in others)]))
        self._numbers = itertools.count(len(self._starts))
        self._size = (THUMBNAIL_WIDTH * height // width, THUMBNAIL_WIDTH)

    def find(self, number: int) -> Start | None:
        return self._starts.get(number)

    def add(self, image: Image.Image) -> Start:
        """One that came from a page; the oldest of too many goes."""
        own = {number: start for number, start in self._starts.items() if not start.path}
        for start in own.values():
            if start.image == image:
                return start
        if len(own) == MOST_OWN:
            del self._starts[min(own)]
        self._starts[next(self._numbers)] = start = Start(image, None, 0)
        return start

    def thumbnail(self, number: int) -> bytes | None:
        """As the world will see it, a JPEG."""
        start, file = self.find(number), io.BytesIO()
        if start is None:
            return None
        fit(start.image, *self._size).save(file, "JPEG", quality=88)
        return file.getvalue()

    def describe(self, current: Start) -> list[dict[str, Any]]:
        return [
            {"number": number, "name": start.name, "own": start.path is None, "current": start.image is current.image}
            for number, start in self._starts.items()
        ]
