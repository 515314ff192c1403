"""A video inside a notebook's page: H.264 in the HTML itself, so that it plays where the notebook goes."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from wan.video.writer import VideoWriter

LARGEST = 32 * 2**20  # bytes of video that a page is given


def html_text(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def html(frames: np.ndarray, fps: float) -> str:
    """uint8 (F, H, W, 3) as a <video> that begins by itself and repeats."""
    with TemporaryDirectory(prefix="mgcli_") as folder:
        path = Path(folder) / "inline.mp4"
        with VideoWriter(path, fps) as writer:
            writer.write(frames)
        video = path.read_bytes()
    if len(video) > LARGEST:
        return f"<p>{len(frames)} frames, {len(video) / 2**20:.0f} MiB: too large for a page, save it</p>"
    _, height, width, _ = frames.shape
    source = f"data:video/mp4;base64,{b64encode(video).decode()}"
    return f'<video controls loop autoplay muted width="{max(width, 320)}" style="aspect-ratio:{width}/{height}" src="{source}"></video>'
