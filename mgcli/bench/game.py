"""The cases of the game model, in the order they are shown."""

from __future__ import annotations

import torch

from mgcli.bench.causal import forward_case
from mgcli.bench.decoding import stream_case
from mgcli.bench.ladder import Case
from mgcli.bench.sizes import GameSize
from mgcli.bench.world import block_case, key_press_case


def game_cases(size: GameSize, device: torch.device, compiled: bool = False) -> list[Case]:
    forwards = [forward_case(size, window, device, compiled) for window in size.windows]
    return [*forwards, stream_case(size, device), block_case(size, device), key_press_case(size, device)]
