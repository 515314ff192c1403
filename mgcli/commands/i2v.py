"""`wan22 i2v`: video from an image and text."""

from __future__ import annotations

from typing import Any

from mgcli.app.console import console
from mgcli.app.next_step import after_video
from mgcli.video.flags import ACCELERATIONS, IMAGE, MACHINE, OUTPUT, PROMPT, VIDEO, takes
from mgcli.video.report import made_videos
from mgcli.video.request import open_start, planned_videos, wan22_request

EXAMPLES = (
    ('wan22 i2v --image cat.png -p "the cat stands up" --size "832*480"', "first: wan22 download i2v-A14B"),
    ('wan22 i2v --image cat.png -p "the cat yawns" --accel recommended', "2x faster, and another video"),
)


@takes(IMAGE, PROMPT, OUTPUT, VIDEO, ACCELERATIONS, MACHINE)
def i2v(flags: dict[str, Any]) -> None:
    """Make a video that begins with an image.

    Its shape is that of the image, its area that of --size. The model is the released one: wan22 download i2v-A14B.
    """
    request = wan22_request(flags, task="i2v-A14B")
    image = open_start(request)
    videos = planned_videos(request, image)
    from mgcli.video.run import make_videos

    data = make_videos(request, videos, image)
    console.result(data, made_videos(data))
    console.next(after_video(data["videos"][-1]["video"], "i2v"))
