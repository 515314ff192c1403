"""`wan22 t2v`: video from text."""

from __future__ import annotations

from typing import Any

from mgcli.app.console import console
from mgcli.app.next_step import after_video
from mgcli.video.flags import ACCELERATIONS, MACHINE, OUTPUT, PROMPT, VIDEO, takes
from mgcli.video.report import made_videos
from mgcli.video.request import open_start, planned_videos, wan22_request

EXAMPLES = (
    (
        'wan22 t2v -p "Two small red stars drift slowly to the left."',
        "the mini, which knows moving shapes: nothing to download",
    ),
    ('wan22 t2v -p "two cats boxing" --size "832*480" --accel recommended', "the released model, 2x faster"),
    ("wan22 t2v --prompt_file prompts.txt --seed 1", "a video of each line"),
    ("wan22 t2v --config_path outputs/video.json", "a video again, from the record beside it"),
)


@takes(PROMPT, OUTPUT, VIDEO, ACCELERATIONS, MACHINE)
def t2v(flags: dict[str, Any]) -> None:
    """Make a video from a text, or one from each line of a file.

    Without --ckpt_dir the released model makes it, if `wan22 download t2v-A14B` has fetched it; else the mini, a small model
    of moving shapes that comes with the package.
    """
    request = wan22_request(flags, task="t2v-A14B")
    image = open_start(request)
    videos = planned_videos(request, image)
    from mgcli.video.run import make_videos

    data = make_videos(request, videos, image)
    console.result(data, made_videos(data))
    console.next(after_video(data["videos"][-1]["video"], "t2v"))
