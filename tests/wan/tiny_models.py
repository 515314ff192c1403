"""Tiny real models with random weights: two layers, every mode, for tests of behaviour rather than of quality."""

from dataclasses import replace

import torch

from wan.config import ActionConfig, CausalConfig, WanConfig
from wan.modules.causal_model import CausalWanModel
from wan.modules.model import WanModel

LATENT = (4, 6)  # height, width -> 6 tokens a latent frame
ACTIONS = {"universal": (4, True), "gta_drive": (2, True), "templerun": (7, False)}  # keys, mouse


def causal_config(mode: str = "universal", window: int = 6, **changes) -> CausalConfig:
    keys, mouse = ACTIONS[mode]
    action = ActionConfig(
        blocks=(0, 2), enable_mouse=mouse, heads_num=2, hidden_size=16, img_hidden_size=48, keyboard_dim_in=keys,
        keyboard_hidden_dim=128, mouse_hidden_dim=128,
    )  # fmt: skip
    config = CausalConfig(
        dim=48, ffn_dim=96, freq_dim=32, num_heads=2, num_layers=3, local_attn_size=window, visual_dim=32,
        action_config=action,
    )  # fmt: skip
    return replace(config, **changes)


def causal_model(mode: str = "universal", window: int = 6, seed: int = 0, cls: type = CausalWanModel):
    torch.manual_seed(seed)
    model = cls(causal_config(mode, window)).eval().requires_grad_(False)
    for p in model.parameters():  # default initialisation leaves biases and norms too tame to catch a mix-up
        p.add_(0.05 * torch.randn_like(p))
    return model


def causal_inputs(mode: str, frames: int, batch: int = 1, latent: tuple[int, int] = LATENT, seed: int = 1) -> dict:
    """A whole sequence: x, conditions and one action a video frame."""
    g = torch.Generator().manual_seed(seed)
    keys, mouse = ACTIONS[mode]
    videos = 1 + 4 * (frames - 1)
    return {
        "x": torch.randn(batch, 16, frames, *latent, generator=g),
        "visual_context": torch.randn(batch, 5, 32, generator=g),
        "cond_concat": torch.randn(batch, 20, frames, *latent, generator=g),
        "mouse_cond": torch.randn(batch, videos, 2, generator=g) if mouse else None,
        "keyboard_cond": torch.randn(batch, videos, keys, generator=g),
    }


def block_of(inputs: dict, start: int, frames: int) -> dict:
    """The part of a sequence that a block sees: its own latents, all actions up to its last frame."""
    seen = 1 + 4 * (start + frames - 1)
    return {
        "x": inputs["x"][:, :, start : start + frames],
        "visual_context": inputs["visual_context"],
        "cond_concat": inputs["cond_concat"][:, :, start : start + frames],
        "mouse_cond": None if inputs["mouse_cond"] is None else inputs["mouse_cond"][:, :seen],
        "keyboard_cond": inputs["keyboard_cond"][:, :seen],
    }


def wan_model(seed: int = 0, **changes) -> WanModel:
    torch.manual_seed(seed)
    config = WanConfig(dim=48, ffn_dim=96, freq_dim=32, num_heads=2, num_layers=2, text_len=12, text_dim=24)
    return WanModel(replace(config, **changes)).eval().requires_grad_(False)
