"""What a world leaves on disk: the video and its twin with keys drawn on it, the actions, the request.

Both videos are playable after every block. The record beside them (JSON, record.py) says how the world was made and, having
the actions in it, replays it: it is an action script and a session.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mgcli.app.machine import versions
from mgcli.app.record import Record
from wan.game.actions import Action, script_of, text
from wan.game.modes import Mode
from wan.game.overlay import Overlay
from wan.video.writer import VideoWriter

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


def recorded(path: Path) -> dict[str, Path]:
    """Everything that a recording may write; `current` is the video while it grows, where that has a name of its own."""
    return {
        "video": path,
        "icon": beside(path, "_icon"),
        "current": beside(path, "_current"),
        "record": path.with_suffix(".json"),
        "latents": beside(path, "_latents", ".safetensors"),
    }


class Recording:
    """`name.mp4`, `name_icon.mp4` and `name.json`. While it grows, the video may be `name_current.mp4`."""

    def __init__(self, path: Path, mode: Mode, fps: float, growing: bool = False):
        self.path, self.mode = path, mode
        self.actions: list[Action] = []
        self._at = recorded(path)
        self._video = VideoWriter(self._at["current"] if growing else path, fps)
        self._icon = VideoWriter(self._at["icon"], fps)
        self._overlay: Overlay | None = None
        self._latents: list[Tensor] = []
        self._record: Record | None = None
        self._told = 0  # actions that are in the record
        self._seconds, self._block_seconds = 0.0, list[float]()
        self._clock = time.perf_counter()

    @property
    def growing(self) -> Path:
        """The video while it is made."""
        return self._video.path

    @property
    def frames(self) -> int:
        return self._video.frames

    @property
    def total_seconds(self) -> float:
        return round(self._seconds, 3)

    @property
    def frames_per_second(self) -> float:
        return round(self.frames / self._seconds, 2) if self._seconds else 0.0

    @property
    def block_seconds(self) -> float:
        """Of the last block."""
        return self._block_seconds[-1] if self._block_seconds else 0.0

    def write(self, video: np.ndarray, actions: Sequence[Action]) -> None:
        """A block: uint8 (F, H, W, 3) and the action of each frame. On disk when it returns."""
        first = not self.frames
        self._overlay = self._overlay or Overlay(self.mode, *video.shape[1:3])
        with ThreadPoolExecutor(1, "video") as aside:  # the two encoders are processes of their own
            plain = aside.submit(self._video.write, video)
            self._icon.write(self._overlay.draw(video, actions))
            plain.result()
        if first:
            self._clear()
        self.actions += actions
        now = time.perf_counter()
        self._seconds += now - self._clock
        self._block_seconds.append(round(now - self._clock, 4))
        self._clock = now
        if self._record:
            self._note()

    def _clear(self) -> None:
        """What a video replaces is no longer told about: its record and latents would be those of another."""
        for name in ("record", "latents"):
            self._at[name].unlink(missing_ok=True)

    def restart_clock(self) -> None:
        """The time until now was the player's, not ours."""
        self._clock = time.perf_counter()

    def keep(self, latents: Tensor) -> None:
        """For `name_latents.safetensors`; they stay in memory until the end."""
        self._latents.append(latents.cpu())

    def close(self) -> None:
        self._video.close()
        self._icon.close()
        if self._record:
            timings = self._timings() | {"per_block": self._block_seconds}
            actions = str(script_of(self.mode, self.actions))
            self._record.close(actions, {"frames": self.frames, "timings": timings})
        if self.frames and self.growing != self.path:
            link_or_copy(self.growing, self.path)
        if self._latents:
            self._write_latents()

    def _write_latents(self) -> None:
        import torch

        from wan.files.saving import save_tensors

        save_tensors(self._at["latents"], {"latents": torch.cat(self._latents, dim=2)})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self.close()
        if kind and self.frames:
            log.info(f"kept: {self.path}, {self.frames} frames")

    def files(self) -> dict[str, str]:
        written = ("video", "icon", "record", *(["latents"] if self._latents else []))
        return {name: str(self._at[name]) for name in written}

    def tell(self, request: Any, **more: Any) -> None:
        """What the record says of how the world was made; it is there from the first block on."""
        head = {"request": asdict(request), **more, "mode": self.mode.name, "versions": versions()}
        self._record = Record(self._at["record"], head)

    def _note(self) -> None:
        """What was done since the last block."""
        assert self._record is not None
        new = script_of(self.mode, self.actions[self._told :]).segments
        lines = [f"{text(self.mode, act)}*{frames}" for act, frames in new]
        self._record.append(lines, {"frames": self.frames, "timings": self._timings()})
        self._told = len(self.actions)

    def _timings(self) -> dict[str, Any]:
        return {"seconds": self.total_seconds, "frames_per_second": self.frames_per_second}


def link_or_copy(source: Path, target: Path) -> None:
    """Two names for what is written; a copy where there are no links. The target is what it was until it is whole."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
        part.replace(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        part.unlink(missing_ok=True)


def beside(path: Path, suffix: str, ending: str | None = None) -> Path:
    """`outputs/demo.mp4` -> `outputs/demo_icon.mp4`."""
    return path.with_name(path.stem + suffix + (ending or path.suffix))
