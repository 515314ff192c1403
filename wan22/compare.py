"""What an acceleration costs: the same video made exactly and made faster, compared frame by frame.

The same prompt and seed on both sides, so that every difference is the acceleration's. Pixels are compared in [0, 1] before
they are encoded; SSIM is torchmetrics' (Gaussian window of 11). Per frame, so that a defect of a few frames can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from wan22.config import Request
from wan22.frames import Method
from wan22.plan import PlannedVideo, planned

Mode = Literal["half_vs_baseline", "cfg_vs_baseline", "all_vs_baseline", "completion"]
MODES: tuple[str, ...] = get_args(Mode)
BASELINE = "baseline"
TRUNCATION = ("cfg_truncate_steps", "cfg_truncate_high_noise_steps")


def contestants(mode: str, request: Request, recommended: Mapping[str, Any]) -> dict[str, PlannedVideo]:
    """The exact request first, then what it is compared with; the request's own flags decide the details, and where it does
    not truncate, what is `recommended`."""
    if mode not in MODES:
        raise ValueError(f"unknown comparison_mode {mode!r}; use one of {', '.join(MODES)}")
    exact = request.exact()
    truncated = any(getattr(request, name) for name in TRUNCATION)
    cfg = {name: getattr(request, name) if truncated else recommended[name] for name in TRUNCATION}
    completion = request.frame_completion or ("improved" if request.enable_improved_frame_completion else "repeat")
    half = {"enable_half_frame_generation": True, "frame_completion": completion}
    compared = {
        "half_vs_baseline": {"half": half},
        "cfg_vs_baseline": {"cfg": cfg},
        "all_vs_baseline": {"all": half | cfg},
        "completion": {name: half | {"frame_completion": name} for name in get_args(Method)},
    }[mode]
    named = {BASELINE: exact} | {name: replace(exact, **changes) for name, changes in compared.items()}
    # all are planned, and what cannot run refused, before the first of them is made
    return {name: planned(contestant) for name, contestant in named.items()}


@dataclass(frozen=True)
class FrameQuality:
    mse: float
    ssim: float

    @property
    def psnr(self) -> float | None:
        """In decibels; None where nothing differs."""
        return -10 * math.log10(self.mse) if self.mse else None


def compare_frames(baseline: Iterable[np.ndarray], other: Iterable[np.ndarray]) -> list[FrameQuality]:
    """Frame by frame, uint8 (H, W, 3)."""
    return [frame_quality(as_tensor(a), as_tensor(b)) for a, b in zip(baseline, other, strict=True)]


def as_tensor(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)


def frame_quality(baseline: Tensor, other: Tensor) -> FrameQuality:
    ssim = structural_similarity_index_measure(other, baseline, data_range=1.0)
    assert isinstance(ssim, Tensor)
    return FrameQuality((other - baseline).square().mean().item(), ssim.item())


def of_video(frames: list[FrameQuality]) -> FrameQuality:
    """PSNR follows from the error of all pixels together, SSIM is the mean of the frames."""
    return FrameQuality(float(np.mean([f.mse for f in frames])), float(np.mean([f.ssim for f in frames])))


@dataclass(frozen=True)
class ComparedVideo:
    """One contestant's video and what it took; `quality` is against the baseline, which has none."""

    name: str
    video: PlannedVideo
    frames: list[np.ndarray]
    denoise_seconds: float
    decode_seconds: float
    quality: list[FrameQuality] | None = None

    @property
    def seconds(self) -> float:
        return self.denoise_seconds + self.decode_seconds

    def facts(self, baseline: ComparedVideo) -> dict[str, Any]:
        """Everything a report says about it."""
        data: dict[str, Any] = {
            "name": self.name,
            "denoise_seconds": self.denoise_seconds,
            "decode_seconds": self.decode_seconds,
            "speedup": baseline.seconds / self.seconds,
            "denoise_speedup": baseline.denoise_seconds / self.denoise_seconds,
            "totals": asdict(self.video.totals),
        }
        if self.quality:
            video = of_video(self.quality)
            data |= {"mse": video.mse, "psnr": video.psnr, "ssim": video.ssim}
            data["per_frame"] = [{"mse": f.mse, "psnr": f.psnr, "ssim": f.ssim} for f in self.quality]
        return data
