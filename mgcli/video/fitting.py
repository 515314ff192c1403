"""What a planned video takes of the GPU's and of the host's memory, wherever its experts live, and which way is chosen.

The same counting as that of a run, on the released model without its weights. Imports torch.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import torch
from rich.table import Table

from mgcli.video.request import Wan22Request
from wan.device import GIB, device_available, host_available
from wan.refusal import Refusal
from wan22.config import find_task
from wan22.memory import RESIDENCIES, choose_residency, needs, released_model
from wan22.plan import PlannedVideo

BASE = 2.7 * GIB  # of the host's memory: what Python, torch and CUDA take, measured on an H200
PROBE = 1 << 28  # bytes copied to see how fast that is
SAID = {
    "both": "both experts on the GPU",
    "one": "one expert, the next one ahead on the host",
    "stream": "layer by layer, from the host's memory",
    "disk": "layer by layer, from the file",
}


@dataclass(frozen=True)
class Fit:
    residency: str
    device_gib: float
    host_gib: float
    fits: bool
    chosen: bool
    copied: float | None  # seconds in which a forward's weights are brought; none where none are, or no GPU to ask


def fits(request: Wan22Request, video: PlannedVideo) -> list[Fit]:
    device, host = device_bytes(request), host_available()
    dtype = torch.bfloat16 if request.dtype == "auto" else getattr(torch, request.dtype)
    model = released_model(find_task(video.request.task).model, dtype, request.fp8)
    counted = needs(model, video.tokens)
    chosen = choose_residency(counted, device, host) if request.residency == "auto" else request.residency
    rate = copy_rate()
    rows = []
    for residency in RESIDENCIES:
        on_device, on_host = counted.on_device(residency), counted.on_host(residency, ahead=True) + BASE
        passes = residency in ("stream", "disk")
        rows.append(
            Fit(
                residency,
                round(on_device / GIB, 1),
                round(on_host / GIB, 1),
                counted.fit(residency, device, host),
                residency == chosen,
                round(counted.expert / rate, 2) if rate and passes else None,
            )
        )
    return rows


def device_bytes(request: Wan22Request) -> int:
    if isinstance(request.memory, float):
        return int(request.memory * GIB)
    if not torch.cuda.is_available():
        raise Refusal("memory auto is that of the GPU here, and there is none; say how many GiB", "memory 24")
    return device_available(torch.device("cuda"))


def copy_rate() -> float | None:
    """Bytes a second from this host's pinned memory to its GPU."""
    if not torch.cuda.is_available():
        return None
    host = torch.empty(PROBE, dtype=torch.uint8).pin_memory()
    for _ in range(2):  # the first one warms up
        torch.cuda.synchronize()
        started = time.perf_counter()
        host.to("cuda", non_blocking=True)
        torch.cuda.synchronize()
    return PROBE / (time.perf_counter() - started)


def as_table(rows: list[Fit]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("residency", "GPU, GiB", "host, GiB", ""):
        made.add_column(name, justify="right" if "GiB" in name else "left")
    for row in rows:
        note = "taken" if row.chosen else "fits" if row.fits else "does not fit"
        slower = f"; brings the weights in {row.copied} s a forward, while it computes" if row.copied else ""
        made.add_row(row.residency, f"{row.device_gib}", f"{row.host_gib}", f"{note}: {SAID[row.residency]}{slower}")
    return made


def as_data(rows: list[Fit]) -> list[dict[str, object]]:
    return [asdict(row) for row in rows]
