"""From a request to models ready to play: finding files, choosing device and dtype.

The one place where `mg` loads anything. Imports torch, so commands import it when they run.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import torch

from mgcli.app import system
from mgcli.app.devices import device_and_dtype, out_of_memory_as
from mgcli.app.models import checkpoint_file
from mgcli.game.request import MINI_MODE, GameRequest
from mgcli.game.room import require_room
from wan.device import GIB, peak_gib
from wan.fast.engine import Engine
from wan.files.checkpoint import find_in, load_causal, load_clip, load_tiny_vae, load_vae
from wan.game.models import GameModels
from wan.game.modes import MODES as GAME_MODES
from wanmini.random_world import random_world
from wanmini.weights import mini_world

log = logging.getLogger(__name__)  # not the console: Python opens worlds too, and says nothing


def open_models(request: GameRequest, worlds: int = 1) -> GameModels:
    """For so many worlds at once."""
    device, dtype = device_and_dtype(request.device, request.dtype)
    require_room(request, worlds, device, dtype)
    request.speed().check(device)
    models = _load(request, device, dtype) if request.checkpoint_path else _embedded(request, device, dtype)
    if request.local_attn_size is not None:
        models.causal.config = replace(models.causal.config, local_attn_size=request.local_attn_size)
    models.causal.num_frame_per_block = request.num_frame_per_block
    return replace(models, engine=request.speed().engine(models.causal))


def _embedded(request: GameRequest, device: torch.device, dtype: torch.dtype) -> GameModels:
    models = _mini(request, device, dtype) if request.mini else _random(request, device, dtype)
    return replace(models, decoder=request.speed().decoder(models.vae))


def _mini(request: GameRequest, device: torch.device, dtype: torch.dtype) -> GameModels:
    log.info("no --checkpoint_path: the embedded mini world, a small model of a maze")
    return mini_world(device, dtype, cls=request.speed().causal_class, vae_dtype=_vae_dtype(device, dtype))


def _random(request: GameRequest, device: torch.device, dtype: torch.dtype) -> GameModels:
    log.info(
        f"no --checkpoint_path, and the embedded mini world is {MINI_MODE}: for {request.mode} a tiny model with random "
        "weights, which moves pixels but means nothing"
    )
    models = random_world(request.mode, causal_class=request.speed().causal_class)
    for part in (models.causal, models.vae, models.clip):
        part.to(device, dtype)
    return models


def _load(request: GameRequest, device: torch.device, dtype: torch.dtype) -> GameModels:
    assert request.checkpoint_path is not None
    path = checkpoint_file(request.checkpoint_path)
    folder = find_in(request.pretrained_model_path or _release_of(path), "vae", "clip")
    vae_dtype = _vae_dtype(device, dtype)
    cls = request.speed().causal_class
    causal, mode = load_causal(
        path, device=device, dtype=dtype, cls=cls, mode=request.mode, finish=request.speed().finish(device)
    )
    vae = load_vae(folder["vae"], device=device, dtype=vae_dtype)
    clip = load_clip(folder["clip"], device=device, dtype=dtype)
    tiny = request.tiny_vae and load_tiny_vae(checkpoint_file(str(request.tiny_vae)), device=device, dtype=vae_dtype)
    return GameModels(GAME_MODES[mode], Engine(causal), vae, tiny or request.speed().decoder(vae), clip)


def _vae_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """float16 for pictures: finer than bfloat16, and what the official tools decode in."""
    return torch.float16 if dtype == torch.bfloat16 and device.type != "cpu" else dtype


def _release_of(checkpoint: Path) -> Path:
    """The folder with the VAE: the nearest one above the checkpoint, as the release has it."""
    for folder in checkpoint.resolve().parents[:2]:
        if {"vae", "clip"} <= find_in(folder).keys():
            return folder
    raise ValueError(
        f"no VAE and CLIP near {checkpoint}: say where they are with --pretrained_model_path; `mg download universal` fetches "
        "them with the model"
    )


def explained_memory(request: GameRequest) -> AbstractContextManager[None]:
    return out_of_memory_as(
        lambda error: ValueError(
            f"not enough memory for {request.height}x{request.width}: use fewer worlds at once, a smaller --height and "
            f"--width, or decode with --tiny_vae (torch says: {str(error).split('. ')[0]})"
        )
    )


def facts_of(models: GameModels) -> dict[str, str]:
    """What a record says of the models beside the request."""
    return {"device": str(models.causal.device), "dtype": str(models.causal.dtype).removeprefix("torch.")}


def peak_memory_gib(device: torch.device) -> float:
    """Of the GPU, or of this process where there is none."""
    on_device = peak_gib(device)
    return system.peak_memory() / GIB if on_device is None else on_device
