"""How long a planned video takes on this machine, and how much memory: what was measured, scaled by the plan's arithmetic.

A forward of another length takes the time of the nearest one that was measured, in proportion to its arithmetic; a decode in
proportion to its pixels. Against whole videos that were measured (README) this is 4 % too fast, and 1 GiB too little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mgcli.bench.speeds import FP8, FUSED, H100, KNOWN, REFERENCE, Cost, Speeds, here, kept
from mgcli.video.request import Wan22Request
from wan22.config import find_task
from wan22.plan import PlannedVideo, forward_flops

FAR = 1.5  # times as long as any forward that was measured: the line says that it was scaled up
DECODED = 49 * 832 * 480, 832 * 480  # pixels of the clip that the decoders were measured on, and of a frame of it


@dataclass(frozen=True)
class Estimate:
    seconds: float  # of denoising and decoding
    gib: Mapping[str, float]  # residency -> on the GPU at most
    scaled_from: int | None  # tokens of the longest forward that was measured, where this run's are far longer


def estimate(request: Wan22Request, video: PlannedVideo, speeds: Speeds) -> Estimate | None:
    """None where this way of running was not measured."""
    forwards = speeds.forwards.get(way_of(request))
    if not forwards or request.dtype not in ("auto", "bfloat16") or request.compile:
        return None
    model = find_task(video.request.task).model
    ms = sum(step.forwards * forward_ms(forwards, step.seq_len, model) for step in video.steps)
    decode = decode_of(request, speeds)
    width, height = video.request.width_height
    ms += decode.ms * video.request.frame_num * width * height / DECODED[0]
    beside = width * height / DECODED[1] * (decode.gib or 0.0)
    scaled_from = max(forwards) if video.tokens > FAR * max(forwards) else None
    return Estimate(ms / 1000, memory(with_memory(request, speeds), video.tokens, beside), scaled_from)


def way_of(request: Wan22Request) -> str:
    return FP8 if request.fp8 else REFERENCE if request.reference else FUSED


def forward_ms(measured: Mapping[int, Cost], tokens: int, model: Any) -> float:
    nearest = min(measured, key=lambda known: abs(math.log(known / tokens)))
    return measured[nearest].ms * forward_flops(model, tokens) / forward_flops(model, nearest)


def decode_of(request: Wan22Request, speeds: Speeds) -> Cost:
    """On the card that it was measured on, if not on this one: it is a hundredth of a run."""
    case = "decode-float32" if request.reference else "decode-float16"
    return speeds.decodes.get(case) or H100.decodes[case]


def with_memory(request: Wan22Request, speeds: Speeds) -> Mapping[int, Cost]:
    """Weights are as large on every card."""
    own = speeds.forwards[way_of(request)]
    known = {tokens: measured for tokens, measured in own.items() if measured.gib}
    return known if len(known) > 1 else H100.forwards[way_of(request)]


def memory(measured: Mapping[int, Cost], tokens: int, decode: float) -> dict[str, float]:
    """Of a GPU with room for all of it at once. Weights are what a forward would take without tokens. The experts may still be
    there when the video is decoded. What a run needs at the least is counted from its tensors (wan22.memory), which takes torch
    and a second; a plan is answered without, and `--memory` asks for the other (mgcli.video.fitting)."""
    short, long = min(measured), max(measured)
    each = ((measured[long].gib or 0) - (measured[short].gib or 0)) / (long - short)
    weights = (measured[long].gib or 0) - each * long
    beside = max(each * tokens, decode)
    return {"both": 2 * weights + beside, "one": weights + beside}


def for_this_machine(request: Wan22Request, video: PlannedVideo) -> dict[str, Any]:
    """As data; `source` is "bench" (here), "known card", or None where this machine was not measured and another one speaks."""
    card = None if request.device == "cpu" else here()
    speeds = card and (kept(card) or KNOWN.get(card))
    made = speeds and estimate(request, video, speeds)
    if speeds and made:
        source = "bench" if speeds.file else "known card"
        return _data(speeds, made) | {"source": source, "this_machine": card}
    other = estimate(request, video, H100)
    return (_data(H100, other) if other else {}) | {"source": None, "this_machine": card}


def _data(speeds: Speeds, made: Estimate) -> dict[str, Any]:
    return {
        "seconds": round(made.seconds, 1),
        "gib": {residency: round(gib, 1) for residency, gib in made.gib.items()},
        "scaled_from_tokens": made.scaled_from,
        "hardware": speeds.hardware,
        "measured": speeds.date,
        "file": speeds.file and str(speeds.file),
    }


def spoken(data: Mapping[str, Any]) -> str:
    """A line for people, which says where its numbers are from."""
    if "seconds" not in data:
        return "seconds and GiB: this way of running was never measured"
    much = f"about {data['seconds']:.0f} s" if data["seconds"] >= 10 else f"about {data['seconds']:.1f} s"
    gib = data["gib"]
    takes = f"{much} of denoising and decoding; {gib['both']:.0f} GiB with both experts on the GPU, {gib['one']:.0f} with one at a time"
    if data["scaled_from_tokens"]:
        takes += f", scaled up from forwards of {data['scaled_from_tokens']:,} tokens"
    if data["source"] == "bench":
        return f"here ({data['hardware']}): {takes}. By wan22 bench of {data['measured']}, kept in {data['file']}"
    if data["source"]:
        return f"here ({data['hardware']}): {takes}. Measured on such a card on {data['measured']}; wan22 bench measures yours"
    why = f"{data['this_machine']} was not measured in this way" if data["this_machine"] else "no NVIDIA GPU here"
    return f"{why}: wan22 bench measures it where there is one. On {data['hardware']}, {data['measured']}: {takes}"
