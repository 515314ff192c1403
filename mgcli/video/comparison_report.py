"""A comparison on paper: a table in Markdown, curves over the frames as a picture, the videos side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wan22.compare import ComparedVideo

CAPTION_HEIGHT, GAP = 20, 4  # even, as video sides must be


def markdown(title: str, facts: Sequence[dict[str, Any]]) -> str:
    rows = [
        "| | denoising | decoding | speed-up | forwards | arithmetic | MSE | PSNR | SSIM |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_row, facts),
    ]
    notes = (
        "Same prompt and seed. Speed-up is of denoising and decoding together, without loading; arithmetic is the share of the"
        " baseline's. MSE, PSNR and SSIM are against the baseline, on pixels in [0, 1] before encoding."
    )
    return "\n".join([f"# {title}", "", *rows, "", notes, "", "![per frame](per_frame.png)", ""])


def _row(fact: dict[str, Any]) -> str:
    totals = fact["totals"]
    cells = [
        fact["name"],
        f"{fact['denoise_seconds']:.2f} s",
        f"{fact['decode_seconds']:.2f} s",
        f"{fact['speedup']:.2f}x",
        str(totals["forwards"]),
        f"{totals['relative_cost']:.2f}",
        *quality_cells(fact),
    ]
    return f"| {' | '.join(cells)} |"


def quality_cells(fact: dict[str, Any]) -> list[str]:
    if "mse" not in fact:
        return ["", "", ""]
    psnr = "identical" if fact["psnr"] is None else f"{fact['psnr']:.2f} dB"
    return [f"{fact['mse']:.2e}", psnr, f"{fact['ssim']:.4f}"]


def draw_curves(path: Path, title: str, compared: Sequence[ComparedVideo]) -> None:
    """PSNR and SSIM of every frame against the baseline."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(9, 5), layout="constrained")
    psnr, ssim = figure.subplots(2, 1, sharex=True)
    for made in compared:
        assert made.quality, "only contestants have a quality"
        # a frame without any difference has no PSNR: a gap in the curve
        psnr.plot([np.nan if q.psnr is None else q.psnr for q in made.quality], marker=".", label=made.name)
        ssim.plot([q.ssim for q in made.quality], marker=".", label=made.name)
    psnr.set(ylabel="PSNR (dB)", title=title)
    ssim.set(ylabel="SSIM", xlabel="frame")
    for axes in (psnr, ssim):
        axes.grid(alpha=0.3)
    psnr.legend(loc="best")
    figure.savefig(path, dpi=120)


def side_by_side(videos: Sequence[ComparedVideo]) -> Iterator[np.ndarray]:
    """Frames uint8 (H, W, 3), each contestant under its name."""
    captions = in_a_row([caption(made.name, made.frames[0].shape[1]) for made in videos])
    for frames in zip(*(made.frames for made in videos), strict=True):
        yield np.concatenate([captions, in_a_row(frames)], axis=0)


def in_a_row(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Black between them: two pictures of one backdrop would run into each other."""
    first, *others = pictures
    return np.concatenate([first, *(np.pad(other, ((0, 0), (GAP, 0), (0, 0))) for other in others)], axis=1)


def caption(text: str, width: int) -> np.ndarray:
    strip = Image.new("RGB", (width, CAPTION_HEIGHT), "black")
    ImageDraw.Draw(strip).text(
        (width // 2, CAPTION_HEIGHT // 2), text, fill="white", anchor="mm", font=ImageFont.load_default(13)
    )
    return np.asarray(strip)
