"""Whether this machine has room for the worlds that are asked for, said before anything is loaded. Imports torch."""

from __future__ import annotations

from dataclasses import replace

import torch

from mgcli.app.models import checkpoint_file
from mgcli.game.limits import SIDES, smaller
from mgcli.game.request import GameRequest
from wan.config import CAUSAL_MODELS, CausalConfig
from wan.device import GIB, available
from wan.files.checkpoint import open_causal
from wan.game.memory import kept_bytes
from wan.refusal import Refusal
from wanmini import random_world, sizes


def require_room(request: GameRequest, worlds: int, device: torch.device, dtype: torch.dtype) -> None:
    room = available(device)
    needed = kept(request, likely_config(request), worlds, dtype)
    if needed > room and request.checkpoint_path:  # a model of one's own may be smaller
        needed = kept(request, open_causal(checkpoint_file(request.checkpoint_path))[0].config, worlds, dtype)
    if needed <= room:
        return
    most = int(room / needed * worlds)
    rows, columns = request.height // SIDES, request.width // SIDES
    near = (
        f"{most} worlds fit"
        if most
        else f"nearest is {smaller(rows, columns, int(room / needed * worlds * rows * columns))}"
    )
    raise Refusal(
        f"{request.height}x{request.width}, {worlds} at once, takes {needed / GIB:,.1f} GiB for what the model looks back on alone,"
        f" and {device} has {room / GIB:,.1f} left; {near}",
        "batch" if most else "height",
    )


def kept(request: GameRequest, config: CausalConfig, worlds: int, dtype: torch.dtype) -> int:
    if request.local_attn_size is not None:
        config = replace(config, local_attn_size=request.local_attn_size)
    return kept_bytes(config, worlds, request.height, request.width, request.num_frame_per_block, dtype)


def likely_config(request: GameRequest) -> CausalConfig:
    if request.checkpoint_path:
        return CAUSAL_MODELS[request.mode]
    return sizes.CAUSAL if request.mini else random_world.causal_config(request.mode)
