"""What every acceleration of `wan22` costs, measured: `python -m wanmini.study --out OUT [--prompts 200] [--workers 2]`.

The mini text-to-video model makes each held-out prompt once exactly and once in every way below, from the same seed. The
judge reads what each clip shows; against the exact clip it also gets its MSE, PSNR, SSIM and how fast things move. OUT
receives a row per clip (rows.jsonl); `python -m wanmini.study_report OUT` makes the table and the pictures of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wan22.compare import compare_frames, of_video
from wanmini import judge_scenes, weights
from wanmini.clips import HELD_OUT
from wanmini.judge import as_video, make_clips, scene_video
from wanmini.scenes import Scenes, captions

Flags = dict[str, Any]
EXACT = "exact"


def half(completion: str, rope: str = "native", noise: str = "alternate") -> Flags:
    chosen = {"frame_completion": completion, "half_frame_rope": rope, "half_frame_noise": noise}
    return {"enable_half_frame_generation": True} | chosen


def truncated(steps: int, high: int, mode: str = "cond") -> Flags:
    return {"cfg_truncate_steps": steps, "cfg_truncate_high_noise_steps": high, "cfg_truncate_mode": mode}


DPM: Flags = {"sample_solver": "dpm++"}
OTHER_SEED: Flags = {"base_seed": 1_000_000}  # how far apart two exact clips of a prompt are
# what a row is compared with is the exact clip of its own solver
WAYS: dict[str, Flags] = {
    EXACT: {},
    f"{EXACT}, another seed": OTHER_SEED,
    "16 steps": {"sample_steps": 16},
    "12 steps": {"sample_steps": 12},
    "9 steps": {"sample_steps": 9},
    **{f"half, {c}, {r} rope": half(c, r) for c in ("repeat", "improved", "renoise") for r in ("native", "stretch")},
    "half, improved, native rope, pairs": half("improved", "native", "pairs"),
    "half, renoise, native rope, pairs": half("renoise", "native", "pairs"),
    "half, renoise, stretch rope, pairs": half("renoise", "stretch", "pairs"),
    **{f"cfg (5, 3), {mode}": truncated(5, 3, mode) for mode in ("cond", "uncond", "delta")},
    **{f"cfg ({n}, {m}), delta": truncated(n, m, "delta") for n, m in ((3, 0), (5, 0), (10, 6))},
    "half, improved + cfg (5, 3), cond": half("improved") | truncated(5, 3),
    "half, renoise + cfg (5, 3), cond": half("renoise") | truncated(5, 3),
    "half, renoise, stretch rope, pairs + cfg (5, 3), cond": half("renoise", "stretch", "pairs") | truncated(5, 3),
    "half, renoise + cfg (5, 3), delta": half("renoise") | truncated(5, 3, "delta"),
    f"{EXACT}, dpm++": DPM,
    "half, improved, dpm++": DPM | half("improved"),
    "half, renoise, dpm++": DPM | half("renoise"),
    "cfg (5, 3), delta, dpm++": DPM | truncated(5, 3, "delta"),
}


def baseline_of(way: str) -> str:
    return f"{EXACT}, dpm++" if way.endswith("dpm++") else EXACT


def rows(folder: Path, prompts: range, device: str) -> Iterator[dict[str, Any]]:
    """A row for each way of each prompt. The models are loaded once for each way, and warmed up."""
    scenes = Scenes.sample(torch.arange(HELD_OUT + prompts.start, HELD_OUT + prompts.stop), held_out=True)
    texts = captions(scenes, held_out=True)
    exact: dict[str, list[np.ndarray]] = {EXACT: [], f"{EXACT}, dpm++": []}
    for way, flags in WAYS.items():
        videos = [scene_video(text, seed, **flags) for text, seed in zip(texts, prompts, strict=True)]
        for i, (seconds, frames) in enumerate(make_clips(folder, videos, device)):
            if way in exact:
                exact[way].append(frames)
            found = {"way": way, "prompt": prompts[i], "seconds": round(seconds, 4), **asdict(videos[i].totals)}
            yield found | read(frames, scenes[i : i + 1]) | against(exact[baseline_of(way)][i], frames)


def read(frames: np.ndarray, scene: Scenes) -> dict[str, float | None]:
    """Which attributes the judge finds right, and the pace it sees as a share of the one asked for."""
    reading = judge_scenes.read(as_video(frames))
    right = {name: none_if_nan(value) for name, value in judge_scenes.score(reading, scene).items()}
    pace = (reading.pace / judge_scenes.pace_of(scene)).item() if right["speed"] is not None else None
    return right | {"pace": pace}


def against(exact: np.ndarray, frames: np.ndarray) -> dict[str, float | None]:
    quality = of_video(compare_frames(exact, frames))
    return {"mse": quality.mse, "psnr": quality.psnr, "ssim": quality.ssim}


def none_if_nan(value: Tensor) -> float | None:
    return None if value.isnan() else value.item()


def shares(count: int, workers: int) -> list[range]:
    """The prompts of each worker."""
    ends = [round(i * count / workers) for i in range(workers + 1)]
    return [range(a, b) for a, b in zip(ends, ends[1:]) if a < b]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1, help="processes, each with a share of the prompts")
    parser.add_argument("--weights", type=Path, default=weights.SCENES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", type=int, nargs=2, metavar=("FROM", "TO"), help="these prompts, in this process")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.only:
        first, last = args.only
        with (args.out / f"rows_{first}.jsonl").open("w", buffering=1) as file:  # what is stopped keeps its rows
            for row in rows(args.weights, range(first, last), args.device):
                file.write(json.dumps(row) + "\n")
        return
    again = [sys.executable, "-m", "wanmini.study", *sys.argv[1:]]
    parts = shares(args.prompts, args.workers)
    running = [subprocess.Popen([*again, "--only", str(part.start), str(part.stop)]) for part in parts]
    codes = [process.wait() for process in running]
    if any(codes):
        sys.exit("a worker failed: its message is above")
    with (args.out / "rows.jsonl").open("w") as file:
        for part in parts:
            one = args.out / f"rows_{part.start}.jsonl"
            file.write(one.read_text())
            one.unlink()


if __name__ == "__main__":
    main()
