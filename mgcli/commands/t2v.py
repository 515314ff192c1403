"""`wan22 t2v`: video from text."""

from __future__ import annotations

from typing import Any

from mgcli.app.console import console
from mgcli.video.flags import ACCELERATIONS, MACHINE, OUTPUT, PROMPT, VIDEO, takes
from mgcli.video.report import made_videos
from mgcli.video.request import open_start, planned_videos, wan22_request


@takes(PROMPT, OUTPUT, VIDEO, ACCELERATIONS, MACHINE)
def t2v(flags: dict[str, Any]) -> None:
    """Make a video from a text, or one from each line of a file."""
    request = wan22_request(flags, task="t2v-A14B")
    image = open_start(request)
    videos = planned_videos(request, image)
    from mgcli.video.run import make_videos

    data = make_videos(request, videos, image)
    console.result(data, made_videos(data))
