"""Peers of an expert's forward: the official code, and diffusers' transformer eager and compiled, with our random weights.

diffusers as its users have it: precision where its loader keeps it, its own choice of attention. It is imported late.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcli.bench.expert import TIMESTEP, ExpertSize, forward_inputs
from mgcli.bench.ladder import Calls, Case, Rung
from mgcli.bench.official import Job, beside
from mgcli.bench.random_weights import values
from mgcli.bench.sizes import Draw
from mgcli.bench.timing import Budget
from mgcli.bench.videos import STEPS, planned_video
from mgcli.bench.work import latent_tokens
from wan.files.key_names import official_names, recognise


def with_diffusers(cases: Iterable[Case], size: ExpertSize, device: torch.device) -> list[Case]:
    shapes = forward_shapes(size)

    def rungs(shape: tuple[int, int, int]) -> tuple[Rung, ...]:
        opens = partial(open_forward, size, shape, device)
        names = {"diffusers": False, "diffusers, layers compiled": True}
        return tuple(Rung(name, partial(opens, compiled), kind="peer") for name, compiled in names.items())

    return [replace(c, rungs=(*c.rungs, *rungs(shapes[c.name]))) if c.name in shapes else c for c in cases]


def with_official(cases: Iterable[Case], checkout: Path, size: ExpertSize, device: torch.device, budget: Budget) -> list[Case]:  # fmt: skip
    jobs = {name: partial(expert_job, size, shape, device) for name, shape in forward_shapes(size).items()}
    jobs["video"] = partial(video_job, size, device)
    return [beside(case, checkout, device, budget, jobs[case.name]) if case.name in jobs else case for case in cases]


def forward_shapes(size: ExpertSize) -> dict[str, tuple[int, int, int]]:
    """The cases that peers can do, and the latents they do it with."""
    shapes = [size.shape(frames) for frames in size.lengths]
    return {f"forward-{latent_tokens(size.model.patch_size, *shape)}": shape for shape in shapes}


def expert_job(size: ExpertSize, shape: tuple[int, int, int], device: torch.device) -> Job:
    x, prompt = forward_inputs(size, shape, device)
    return {
        "what": "expert",
        "expert": asdict(size.model),
        "dtype": size.dtype,
        "tokens": latent_tokens(size.model.patch_size, *shape),
        "timestep": TIMESTEP,
        "x": x,
        "prompt": prompt.to(size.dtype),
    }


def video_job(size: ExpertSize, device: torch.device) -> Job:
    """The forwards of an exact video and its decoding, without what lies between them; one expert stands for both."""
    exact = planned_video(size, STEPS, {}).steps
    return expert_job(size, size.shape(size.latents[0]), device) | {
        "what": "video",
        "forwards": sum(step.forwards for step in exact),
        "vae": {k: v for k, v in json.loads(json.dumps(asdict(size.vae))).items() if k not in ("mean", "std")},
        "latents": Draw(device, torch.float32)(1, size.vae.z_dim, *size.latents),
    }


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
        model: Any = WanTransformer3DModel(
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
