"""`wan22 compare`: what an acceleration gains and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from mgcli.app.console import console
from mgcli.video.flags import ACCELERATIONS, COMPARISON, IMAGE, MACHINE, PROMPT, VIDEO, takes
from mgcli.video.request import fitted, open_start, wan22_request
from wan22.config import seeded

EXAMPLES = (
    (
        'wan22 compare -p "A large yellow circle moves quickly to the right."',
        "on the mini: nothing to download",
    ),
    ('wan22 compare --comparison_mode completion -p "A tiny green ring grows."', "three ways to complete half frames"),
)


@takes(COMPARISON, PROMPT, IMAGE, VIDEO, ACCELERATIONS, MACHINE)
def compare(flags: dict[str, Any]) -> None:
    """Make one video exactly and accelerated, and say what was gained and what it cost.

    All have the same seed. Leaves the videos, one of them side by side, curves over the frames, and a report with times and
    differences (MSE, PSNR, SSIM).
    """
    mode = flags.pop("comparison_mode", "all_vs_baseline")
    folder = flags.pop("output_dir", Path("outputs") / mode)
    request = wan22_request(flags)
    if request.prompt_file:
        raise ValueError(
            "compare takes one prompt, and the preset names a prompt_file; give --prompt and another preset"
        )
    image = open_start(request)
    [video] = request.videos()
    asked = fitted(seeded(video), image)
    from mgcli.video.compare import compare_videos

    data = compare_videos(mode, asked, request, image, folder)
    console.result(data, table(data))
    console.next(f"open {data['folder']}/side_by_side.mp4 and {data['folder']}/report.md")


def table(data: dict[str, Any]) -> Table:
    from mgcli.video.comparison_report import quality_cells

    made = Table(
        box=None, pad_edge=False, header_style="bold", caption=f"written to {data['folder']}", caption_justify="left"
    )
    for name in ("", "denoising", "decoding", "speed-up", "forwards", "MSE", "PSNR", "SSIM"):
        made.add_column(name, no_wrap=True, justify="right" if name else "left")
    for fact in data["results"]:
        seconds = (f"{fact[key]:.2f} s" for key in ("denoise_seconds", "decode_seconds"))
        made.add_row(
            fact["name"], *seconds, f"{fact['speedup']:.2f}x", str(fact["totals"]["forwards"]), *quality_cells(fact)
        )
    return made
