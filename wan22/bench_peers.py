"""diffusers' transformer as a peer: the same forward, with our random weights under its names, eager and compiled.

As its users have it: precision where its loader keeps it, its own choice of attention. Needs diffusers, imports it late.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.bench.ladder import Calls, Case, Rung
from wan.bench.random_weights import values
from wan.bench.work import latent_tokens
from wan.key_names import official_names, recognise
from wan22.bench import TIMESTEP, ExpertSize, forward_inputs


def with_diffusers(cases: Iterable[Case], size: ExpertSize, device: torch.device) -> list[Case]:
    shapes = {f"forward-{latent_tokens(size.model.patch_size, *size.shape(n))}": size.shape(n) for n in size.lengths}

    def rungs(shape: tuple[int, int, int]) -> tuple[Rung, ...]:
        opens = partial(open_forward, size, shape, device)
        names = {"diffusers": False, "diffusers, layers compiled": True}
        return tuple(Rung(name, partial(opens, compiled), kind="peer") for name, compiled in names.items())

    return [replace(c, rungs=(*c.rungs, *rungs(shapes[c.name]))) if c.name in shapes else c for c in cases]


def open_forward(size: ExpertSize, shape: tuple[int, int, int], device: torch.device, compiled: bool) -> Calls:
    model = open_transformer(size, device)
    if compiled:
        model.compile_repeated_blocks()
    x, prompt = forward_inputs(size, shape, device)
    text = F.pad(prompt, (0, 0, 0, size.model.text_len - len(prompt)))[None].to(size.dtype)  # as its pipeline pads it
    x, t = x.to(size.dtype), torch.tensor([TIMESTEP], device=device)

    def forward() -> Tensor:
        return model(x, t, text, return_dict=False)[0]

    return Calls(forward, forward)


def open_transformer(size: ExpertSize, device: torch.device) -> Any:
    from diffusers import WanTransformer3DModel

    config = size.model
    with torch.device("meta"):
        model = WanTransformer3DModel(
            num_attention_heads=config.num_heads, attention_head_dim=config.dim // config.num_heads,
            in_channels=config.in_dim, out_channels=config.out_dim, text_dim=config.text_dim,
            freq_dim=config.freq_dim, ffn_dim=config.ffn_dim, num_layers=config.num_layers,
        )  # fmt: skip
    rope = type(model.rope)(model.rope.attention_head_dim, model.rope.patch_size, model.rope.max_seq_len)
    for name, parameter in model.named_parameters():
        kept = any(part in name.split(".") for part in model._keep_in_fp32_modules)
        parameter.data = parameter.data.to(torch.float32 if kept else size.dtype)
    model.to_empty(device=device)
    model.rope = rope.to(device)
    fill_by_official_names(model)
    return model.eval().requires_grad_(False)


def fill_by_official_names(model: Any) -> None:
    parameters = dict(model.named_parameters())
    known = recognise(parameters)
    assert known, "the layout of a diffusers transformer is one of those that checkpoints come in"
    for official, [name] in official_names(parameters, *known).items():
        parameters[name].data.copy_(values(official, parameters[name], seed=0))
