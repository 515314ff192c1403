"""`wan22 i2v`: video from an image and text."""

from __future__ import annotations

from typing import Any

from mgcli.app.console import console
from mgcli.video.flags import ACCELERATIONS, IMAGE, MACHINE, OUTPUT, PROMPT, VIDEO, takes
from mgcli.video.report import made_videos
from mgcli.video.request import open_start, planned_videos, wan22_request


@takes(IMAGE, PROMPT, OUTPUT, VIDEO, ACCELERATIONS, MACHINE)
def i2v(flags: dict[str, Any]) -> None:
    """Make a video that begins with an image; its shape is the image's, at the area of --size."""
    request = wan22_request(flags, task="i2v-A14B")
    image = open_start(request)
    videos = planned_videos(request, image)
    from mgcli.video.run import make_videos

    data = make_videos(request, videos, image)
    console.result(data, made_videos(data))
