"""The one attention seam: attend(q, k, v) on (B, L, H, D), and which implementation runs behind it.

`auto` takes what works on this machine, and where cudnn and flash both do, the faster one for the shape
(wan.fast.attention_choice). A backend that was asked for by name and does not work is an error: a silent substitute
would change timings and, by rounding, results.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from wan.fast.attention_choice import Attention, choices, fastest
from wan.refusal import Refusal

log = logging.getLogger(__name__)

Mask = Tensor | Callable[[Tensor, Tensor, Tensor], Tensor]

BACKENDS = ("auto", "cudnn", "flash", "sdpa")
HALF = ("cudnn", "flash")  # fused kernels, half precision only


def _sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)


def _cudnn(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return _sdpa(q, k, v)


def _flash(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out = _flash_function()(q, k, v)
    return out[0] if isinstance(out, tuple) else out  # flash-attn 3 may return the log-sum-exp as well


@cache
def _flash_function() -> Callable[..., Any]:
    for module in ("flash_attn_interface", "fa3_fwd_interface", "flash_attn"):  # 3 before 2
        try:
            return importlib.import_module(module).flash_attn_func
        except ImportError:
            continue
    raise Refusal(
        "attention backend 'flash' is not installed; pip install fa3-fwd (Hopper) or flash-attn, or use auto",
        "attention auto",
    )


_RUN: dict[str, Attention] = {"sdpa": _sdpa, "cudnn": _cudnn, "flash": _flash}
_chosen: dict[str, tuple[str, ...]] = {}  # device type -> backend, or those between which the shape decides


def _why_not(backend: str, device: torch.device) -> str | None:
    """None if the backend computes a small attention on this device correctly, else the reason it does not."""
    if backend != "sdpa" and device.type != "cuda":
        return f"needs a CUDA GPU, this is {device.type}"
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    q = torch.randn(1, 32, 2, 64, device=device, dtype=dtype)
    try:
        error = (_RUN[backend](q, q, q) - _sdpa(q, q, q)).abs().max().item()
    except (RuntimeError, ValueError, ImportError) as problem:
        return (str(problem).strip() or type(problem).__name__).splitlines()[0]
    return None if error < 0.05 else f"wrong result on a small tensor (off by {error:.2g})"  # bf16 rounding is 0.01


def available_backends(device: str | torch.device | None = None) -> dict[str, str]:
    """backend -> "ok" or the reason it does not work; each one is tried on a small tensor."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return {name: _why_not(name, where) or "ok" for name in ("cudnn", "flash", "sdpa")}


def use_backend(name: str, device: str | torch.device) -> str:
    """Fix the backend for a device type and say what was chosen; `auto` prefers cudnn, then flash, then sdpa.

    Where cudnn and flash both work, `auto` measures them for each shape, beginning with cudnn.
    """
    if name not in BACKENDS:
        raise ValueError(f"attention backend {name!r} is unknown; choose one of {', '.join(BACKENDS)}")
    where = torch.device(device)
    reasons = {candidate: _why_not(candidate, where) for candidate in (HALF if name == "auto" else (name,))}
    working = tuple(candidate for candidate, why in reasons.items() if why is None)
    if not working and name != "auto":
        raise Refusal(f"attention backend {name!r} does not work here ({reasons[name]}); use auto", "attention auto")
    _chosen[where.type] = working or ("sdpa",)
    passed = "; ".join(f"{k}: {why}" for k, why in reasons.items() if why)
    found = passed or ("the faster for each shape" if len(working) > 1 else "asked for")
    name = " or ".join(_chosen[where.type])
    log.info("attention on %s: %s (%s)", where.type, name, found)
    return name


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None = None) -> Tensor:
    """(B, Lq, H, D) x (B, Lk, H, D) -> (B, Lq, H, D); mask (Lq, Lk) is True where attention is allowed.

    In place of a mask, a function of q, k and v attends in a way of its own.
    """
    if mask is not None and not isinstance(mask, Tensor):
        return mask(q, k, v)
    if mask is not None:
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    backends = _backends(q.device, q.dtype)
    backend = backends[0] if len(backends) == 1 else fastest({name: _RUN[name] for name in backends}, q, k, v)
    return _RUN[backend](q, k, v)


def _backends(device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    if device.type not in _chosen:
        use_backend("auto", device)
    return ("sdpa",) if dtype == torch.float32 else _chosen[device.type]


def in_use(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What `attend` runs on tensors like these: a backend, or several of which each shape it has met has its own (`shapes`);
    a shape that was too small to measure has the first."""
    return {"backends": list(_backends(device, dtype)), "shapes": choices(device.type)}


def attend_with(backend: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """attend(q, k, v) by this backend; an error where it is not installed or does not take such tensors."""
    return _RUN[backend](q, k, v)


def attend_biased(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """attend(q, k, v) with bias (Lk,) added to the scores; its storage must reach to a multiple of 8 (`count_bias`)."""
    mask = bias.expand(q.shape[0], q.shape[2], q.shape[1], -1)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def count_bias(keys: int, count: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, int]:
    """A bias with which the last few of `keys` keys, all equal, weigh as much as `count` of them; and how many those are.

    One key with log(count) would do, but bf16 has log(412) = 6.02 as 6.03, one percent too heavy. So what the first
    leaves over goes to a second, and to a third.
    """
    logs: list[float] = []
    left = float(count)
    while left > 1e-4 * count and len(logs) < 3:
        rounded = torch.tensor(math.log(left), dtype=dtype)
        if rounded.exp() > left:
            rounded = torch.nextafter(rounded, torch.tensor(-math.inf, dtype=dtype))
        logs.append(float(rounded))
        left -= math.exp(logs[-1])
    bias = torch.zeros(keys - 1 + len(logs) + 8, dtype=dtype, device=device)  # fused kernels read rows in eights
    bias[keys - 1 : keys - 1 + len(logs)] = torch.tensor(logs, dtype=dtype)
    return bias[: keys - 1 + len(logs)], len(logs)
