"""A world that nobody trained: the real classes at toy size with random weights.

It moves pixels, not meaning. It is what tests run on, and what `mg` plays in the modes that have no trained mini.
"""

from __future__ import annotations

import torch

from wan.config import ActionConfig, CausalConfig, CLIPConfig, VAEConfig
from wan.fast.engine import Engine
from wan.game.models import GameModels
from wan.game.modes import MODES
from wan.modules.causal_model import CausalWanModel
from wan.modules.clip import CLIPVision
from wan.modules.vae import WanVAE

DIM, VISUAL_DIM = 64, 32
VAE = VAEConfig(dim=8, num_res_blocks=1)
CLIP = CLIPConfig(dim=VISUAL_DIM, image_size=56, num_heads=2, num_layers=2)


def causal_config(mode_name: str, local_attn_size: int = 6) -> CausalConfig:
    mode = MODES[mode_name]
    action = ActionConfig(
        blocks=(0,), heads_num=2, hidden_size=16, img_hidden_size=DIM, keyboard_hidden_dim=128, mouse_hidden_dim=128,
        keyboard_dim_in=mode.keyboard_dim, enable_mouse=mode.has_mouse,
    )  # fmt: skip
    return CausalConfig(
        dim=DIM, ffn_dim=2 * DIM, freq_dim=32, num_heads=2, num_layers=2, visual_dim=VISUAL_DIM,
        local_attn_size=local_attn_size, action_config=action,
    )  # fmt: skip


def random_world(
    mode_name: str = "universal",
    seed: int = 0,
    local_attn_size: int = 6,
    causal_class: type[CausalWanModel] = CausalWanModel,
) -> GameModels:
    """Models of this mode on the CPU in float32; the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae, clip = WanVAE(VAE).eval(), CLIPVision(CLIP).eval()
        drawn = CausalWanModel(causal_config(mode_name, local_attn_size))
        causal = causal_class(drawn.config).eval()
    causal.load_state_dict(drawn.state_dict())  # each class draws in an order of its own
    return GameModels(MODES[mode_name], Engine(causal), vae, vae, clip)
