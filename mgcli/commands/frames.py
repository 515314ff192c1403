"""`mg frames`: which latent frames and video frames each block is."""

from __future__ import annotations

from typing import Annotated, Any

from rich.table import Table

from mgcli.app.console import console
from mgcli.app.flag import flag
from mgcli.app.next_step import program
from wan.game.timeline import Span, frame_map
from wan.latents import video_frames

LONGEST = 30_000  # of a table that anybody reads: 80 minutes of video
Length = Annotated[int, flag("The length in latent frames, as in mg generate.", min=1, max=LONGEST, metavar="N")]
PerBlock = Annotated[int, flag("How many latent frames are made together.", min=1, metavar="N")]
EXAMPLES = (
    ("mg frames", "the released models' usual length"),
    ("mg frames --num_output_frames 15", "what they were trained on"),
)


def frames(
    num_output_frames: Length = 150,
    num_frame_per_block: PerBlock = 3,
) -> None:
    """Say which latent frames, and which frames of the video, each block is.

    The model makes a video in blocks of a few latent frames. The first latent frame is one frame of video, each later one
    is four.
    """
    spans = frame_map(num_output_frames, num_frame_per_block)
    data = {
        "latent_frames": num_output_frames,
        "blocks": len(spans),
        "frames": video_frames(num_output_frames),
        "per_block": [_row(span) for span in spans],
    }
    console.result(data, _table(data))
    console.next(f"{program('mg')} generate --num_output_frames {num_output_frames} makes a video as long")


def _row(span: Span) -> dict[str, Any]:
    return {"block": span.block, "latent": _ends(span.latent), "frames": _ends(span.frames)}


def _ends(of: range) -> list[int]:
    """First and last, both included."""
    return [of[0], of[-1]]


def _table(data: dict[str, Any]) -> Table:
    title = f"{data['latent_frames']} latent frames, {data['blocks']} blocks, {data['frames']} video frames"
    table = Table("block", "latent frames", "video frames", "count", title=title)
    for row in data["per_block"]:
        first, last = row["frames"]
        spans = (f"{a}-{b}" for a, b in (row["latent"], row["frames"]))
        table.add_row(str(row["block"]), *spans, str(last - first + 1))
    return table
