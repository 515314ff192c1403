"""`mg frames`: which latent frames and video frames each block is."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from mgcli.app.console import console
from wan.game.timeline import Span, frame_map
from wan.latents import video_frames


def frames(
    num_output_frames: Annotated[int, typer.Option(min=1, help="Latent frames, as in mg generate.")] = 150,
    num_frame_per_block: Annotated[int, typer.Option(min=1, help="Latent frames generated together.")] = 3,
) -> None:
    """Show the map from blocks to latent frames to video frames."""
    spans = frame_map(num_output_frames, num_frame_per_block)
    data = {
        "latent_frames": num_output_frames,
        "blocks": len(spans),
        "frames": video_frames(num_output_frames),
        "per_block": [_row(span) for span in spans],
    }
    console.result(data, _table(data))


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
