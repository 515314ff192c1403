"""Decoding whole and by strips, on a GPU: python -m tests.bench.strips [--cases 480p,720p] [--dtypes float16,bfloat16] [--strips 1,2,3,4,6].

The released VAE with random weights, in the fast decoder that `wan22` uses, down to pictures of 8 bits on the host. For each
number of strips: seconds and their ratio to the whole's, peak memory beside what was predicted, and how far its frames
are from the whole's, everywhere and beside the borders of strips. A table, and as the last line JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mgcli.bench.random_weights import random_model
from wan.config import WAN21_VAE, VAEConfig
from wan.device import GIB, peak_gib, release, reset_peak, wait_for
from wan.fast.speed import Speed
from wan.latents import SPATIAL_STRIDE, video_frames
from wan.modules.streaming import StreamedDecoder, join
from wan.modules.vae import WanVAE
from wan22.generation import joined, to_uint8

Latents = tuple[int, int, int]
CASES: dict[str, Latents] = {"480p": (13, 60, 104), "720p": (21, 90, 160)}  # 49 and 81 frames
COLUMNS = ("case", "dtype", "strips", "seconds", "ratio", "peak_gib", "predicted_gib", "relative", "at_borders", "steps_of_8_bits")  # fmt: skip


def open_decoder(device: torch.device, dtype: torch.dtype, config: VAEConfig = WAN21_VAE) -> StreamedDecoder:
    decoder = Speed().decoder(random_model(lambda: WanVAE(config), device, dtype))
    release(device)
    return decoder


def drawn(latents: Latents, device: torch.device) -> Tensor:
    return torch.randn(1, 16, *latents, generator=torch.Generator().manual_seed(0)).to(device)


@torch.no_grad()
def pictures(decoder: StreamedDecoder, latents: Tensor, count: int) -> np.ndarray:
    """As `wan22` makes them."""
    return np.concatenate(list(_chunks(decoder, latents, count)))


def _chunks(decoder: StreamedDecoder, latents: Tensor, count: int) -> Iterator[np.ndarray]:
    if count == 1:
        return (to_uint8(chunk[0]) for chunk in decoder.decode_chunks(latents))
    frames, height, width = latents.shape[2:]
    shape = video_frames(frames), height * SPATIAL_STRIDE, width * SPATIAL_STRIDE, 3
    return joined(decoder.decode_strips(latents, count), np.empty(shape, np.uint8))


@torch.no_grad()
def frames(decoder: StreamedDecoder, latents: Tensor, count: int) -> Tensor:
    """On the host, in the decoder's own numbers."""
    if count == 1:
        return torch.cat([chunk.cpu() for chunk in decoder.decode_chunks(latents)], 2)
    return join(piece._replace(pixels=piece.pixels.cpu()) for piece in decoder.decode_strips(latents, count))


def seconds(decoder: StreamedDecoder, latents: Tensor, count: int, times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        pictures(decoder, latents, count)
        wait_for(latents.device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def peak(decoder: StreamedDecoder, latents: Tensor, count: int) -> float | None:
    """GiB with the weights, of a run that has only its latents on the device."""
    release(latents.device)
    reset_peak(latents.device)
    pictures(decoder, latents, count)
    return peak_gib(latents.device)


def predicted(decoder: StreamedDecoder, latents: Latents, count: int) -> float:
    weights = sum(p.nbytes for p in decoder.parameters())
    return (decoder.strip_bytes(latents, count) + weights) / GIB


def apart(got: Tensor, want: Tensor, borders: list[slice], side: int) -> tuple[float, float]:
    """Distance as a share of the whole's frames: everywhere, and beside the borders of strips."""
    error, size = ((x.float().square().mean((0, 1, 2, 4 - side))) for x in (got - want, want))
    beside = [i for border in borders for i in range(border.start, border.stop)]
    return (error.mean() / size.mean()).sqrt().item(), (error[beside].mean() / size[beside].mean()).sqrt().item()


def borders(decoder: StreamedDecoder, latents: Latents, count: int) -> tuple[list[slice], int]:
    """Eight rows or columns on either side of each border, and the side that is cut."""
    strips = decoder.strips(latents[1:], count)
    return [slice(a.made[1] - 8, b.made[0] + 8) for a, b in pairwise(strips)], strips[0].side


def measured(case: str, dtype: torch.dtype, counts: list[int], times: int, device: torch.device) -> Iterator[dict[str, Any]]:  # fmt: skip
    size = CASES[case]
    decoder, latents = open_decoder(device, dtype), drawn(size, device)
    whole, seen = frames(decoder, latents, 1), pictures(decoder, latents, 1).astype(np.int16)
    alone = seconds(decoder, latents, 1, times)
    for count in counts:
        row: dict[str, Any] = {"case": case, "dtype": str(dtype).removeprefix("torch."), "strips": count}
        pictures(decoder, latents, count)  # warm
        row["seconds"] = alone if count == 1 else seconds(decoder, latents, count, times)
        row["ratio"] = row["seconds"] / alone
        row["peak_gib"], row["predicted_gib"] = peak(decoder, latents, count), predicted(decoder, size, count)
        if count > 1:
            far = apart(frames(decoder, latents, count), whole, *borders(decoder, size, count))
            row["relative"], row["at_borders"] = far
            row["steps_of_8_bits"] = int(abs(pictures(decoder, latents, count) - seen).max())
        yield row


def shown(row: dict[str, Any]) -> str:
    values = (row.get(name) for name in COLUMNS)
    return "  ".join(f"{value:>15.3g}" if isinstance(value, float) else f"{value!s:>15}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--dtypes", default="float16,bfloat16")
    parser.add_argument("--strips", default="1,2,3,4,6")
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    counts, rows = [int(count) for count in given.strips.split(",")], []
    print("  ".join(f"{name:>15}" for name in COLUMNS))
    for case in given.cases.split(","):
        for dtype in given.dtypes.split(","):
            for row in measured(case, getattr(torch, dtype), counts, given.times, torch.device(given.device)):
                print(shown(row), flush=True)
                rows.append(row)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
