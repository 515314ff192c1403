"""Every way in which a game world is made, each against itself and against what it must be equal or close to."""

from __future__ import annotations

import torch

from mgcli.game.request import GenerateRequest
from tests.gpu.doors import (
    BLOCKS,
    Played,
    another,
    at_least,
    decibels,
    free,
    opened,
    opened_with,
    played,
    relative,
    same,
    same_tensor,
)  # fmt: skip
from tests.gpu.leg import Failed, Setting, Skipped, leg, need_cuda
from wan.fast.speed import FP8_CAPABILITY
from wan.files.checkpoint import load_tiny_vae
from wan.game.models import GameModels


@leg(30, "release_modes")
def mode_gta_drive(setting: Setting) -> str:
    """gta_drive: the second world is the first one, bit for bit, with graphs and without."""
    return twice_and_without_graphs(setting, "gta_drive")


@leg(30, "release_modes")
def mode_templerun(setting: Setting) -> str:
    """templerun: the second world is the first one, bit for bit, with graphs and without."""
    return twice_and_without_graphs(setting, "templerun")


@leg(60, "release_game")
def windows(setting: Setting) -> str:
    """Attention windows of 4, 6 and 15 latent frames, each past eviction: the second world is the first one, with graphs and
    without, and the windows are not each other."""
    made = {size: windowed(setting, size) for size in (4, 6, 15)}
    another(made[4], made[15], "windows of 4 and 15")
    return f"{', '.join(map(str, made))} latent frames"


def windowed(setting: Setting, size: int) -> Played:
    blocks = -(-size // 3) + 2
    models, request = opened(setting, local_attn_size=size)
    first = twice(models, request, f"window {size}", blocks)
    del models
    free()
    models, request = opened(setting, local_attn_size=size, graphs=False)
    same(played(models, request, blocks=blocks), first, f"window {size} without graphs")
    del models
    free()
    # as long as the shortest, to be compared
    return Played(first.latents[:, :, : 3 * BLOCKS], first.video)


def twice_and_without_graphs(setting: Setting, mode: str, **flags: object) -> str:
    models, request = opened(setting, mode, **flags)
    first = twice(models, request, mode)
    del models
    free()
    models, request = opened(setting, mode, graphs=False, **flags)
    same(played(models, request), first, f"{mode} without graphs")
    return f"{BLOCKS} blocks"


def twice(models: GameModels, request: GenerateRequest, what: str, blocks: int = BLOCKS) -> Played:
    first = played(models, request, blocks=blocks)
    same(played(models, request, blocks=blocks), first, f"{what}, the second world")
    return first


@leg(40, "release_game")
def game_fp8(setting: Setting) -> str:
    """--fp8: the second world is the first one, bit for bit, with graphs and without; it is near the exact one, and not it."""
    need_fp8(setting)
    twice_and_without_graphs(setting, "universal", fp8=True)
    made = {}
    for fp8 in (True, False):
        models, request = opened(setting, fp8=fp8)
        made[fp8] = played(models, request, blocks=1).latents
        del models
        free()
    if not 1e-4 < (apart := relative(made[True], made[False])) < 0.5:
        raise Failed(f"fp8 is {apart:.2%} from exact")
    return f"{apart:.1%} from exact after a block"


def need_fp8(setting: Setting) -> None:
    need_cuda(setting)
    if torch.cuda.get_device_capability() < FP8_CAPABILITY:
        raise Skipped("needs a GPU of compute capability 8.9")


@leg(90, "release_game")
def game_reference(setting: Setting) -> str:
    """--reference: the second world is the first one, bit for bit, and in float32 the fast model's world is the reference's
    but for rounding, past eviction."""
    torch.backends.cudnn.allow_tf32 = False  # the patch embedding is a convolution, and 10 bits are not float32
    made = {}
    for reference in (True, False):
        models, request = opened(setting, reference=reference, dtype="float32")
        made[reference] = played(models, request).latents
        del models
        free()
    first, all_ = relative(made[False][:, :, :3], made[True][:, :, :3]), relative(made[False], made[True])
    if (
        first > 1e-3 or all_ > 1e-2
    ):  # 3 forwards round once a layer each; every later block begins with what came before
        raise Failed(f"fast and reference in float32 are {first:.1e} apart after a block, {all_:.1e} after {BLOCKS}")
    models, request = opened(setting, reference=True)
    twice(models, request, "reference")
    return f"float32: {first:.1e} apart after a block, {all_:.1e} after {BLOCKS}"


@leg(90)
def game_compile(setting: Setting) -> str:
    """--compile, on the mini: the second world is the first one, bit for bit, and its first pictures are the reference's."""
    models, request = opened_with({"compile": True})
    compiled = twice(models, request, "compiled")
    models, request = opened_with({"reference": True})
    apart = decibels(compiled.video[:, :9], played(models, request).video[:, :9])
    at_least(apart, 30, "the first block against the reference")
    return f"{apart:.0f} dB from the reference in the first block"


@leg(40, "release_game")
def game_tiny_vae(setting: Setting) -> str:
    """--tiny_vae: the same latents as with the VAE, its pictures those of the tiny decoder over all latents at once, twice the
    same."""
    models, request = opened(setting, tiny_vae=setting.tiny_vae)
    tiny = twice(models, request, "tiny VAE")
    decoder = load_tiny_vae(setting.tiny_vae, device=setting.device, dtype=torch.float32)
    with torch.no_grad():
        whole = decoder.decode(tiny.latents.float().to(setting.device)).clamp(-1, 1)
    pictures = whole.add(1).mul(127.5).permute(0, 2, 3, 4, 1).cpu()
    at_least(apart := decibels(tiny.video, pictures), 40, "streamed against whole")
    del models
    free()
    models, request = opened(setting)
    same_tensor(played(models, request).latents, tiny.latents, "latents beside another decoder", frames=2)
    return f"{apart:.0f} dB from float32 over all latents"
