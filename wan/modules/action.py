"""ActionModule: how mouse and keyboard reach the video tokens of a causal layer.

A latent frame sees the actions of a window of 3 latent frames (12 action frames), padded in front with the first
action. Mouse: the window joins each token, then attention runs over time at every spatial position on its own.
Keyboard: tokens query keys and values made from the window alone. Both rotate by time only, and their q/k norms have a
weight in the file that the official code never applies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from wan.config import ActionConfig
from wan.modules.attention import Mask, attend
from wan.modules.layers import LayerCache
from wan.modules.rope import Rope, apply_rope


class UnweightedRMSNorm(nn.Module):
    """RMS norm whose `weight` exists for the checkpoint only."""

    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


def tail_frames(latent_frames: int, config: ActionConfig) -> int:
    """How many trailing action frames the last `latent_frames` latent frames can see."""
    return config.vae_time_compression_ratio * (latent_frames - 1 + config.windows_size) + 1


def action_windows(actions: Tensor, latent_frames: int, config: ActionConfig) -> Tensor:
    """The window of each of the last `latent_frames` latent frames: (B, T, A) -> (B, n, 12, A).

    `actions` ends with the block's last frame; frames before its first one repeat it. Longer history is ignored.
    """
    ratio = config.vae_time_compression_ratio
    needed = tail_frames(latent_frames, config)
    tail = actions[:, -needed:]
    padding = tail[:, :1].expand(-1, needed - tail.shape[1], -1)
    windows = torch.cat([padding, tail], dim=1).unfold(1, ratio * config.windows_size, ratio)  # (B, n, A, 12)
    return windows.transpose(2, 3)


class ActionModule(nn.Module):
    mouse_mlp: Any  # there if the mouse is
    keyboard_embed: Any

    def __init__(self, config: ActionConfig):
        super().__init__()
        self.config = config
        if config.enable_mouse:
            self._add_mouse(config)
        if config.enable_keyboard:
            self._add_keyboard(config)

    def _add_mouse(self, c: ActionConfig) -> None:
        width, window = c.mouse_hidden_dim, c.mouse_dim_in * c.vae_time_compression_ratio * c.windows_size
        self.mouse_mlp = nn.Sequential(
            nn.Linear(window + c.img_hidden_size, width),
            nn.GELU(approximate="tanh"),
            nn.Linear(width, width),
            nn.LayerNorm(width),
        )
        self.t_qkv = nn.Linear(width, width * 3, bias=c.qkv_bias)
        self.img_attn_q_norm = _norm(c, width)
        self.img_attn_k_norm = _norm(c, width)
        self.proj_mouse = nn.Linear(width, c.img_hidden_size, bias=c.qkv_bias)

    def _add_keyboard(self, c: ActionConfig) -> None:
        width, window = c.keyboard_hidden_dim, c.hidden_size * c.vae_time_compression_ratio * c.windows_size
        self.keyboard_embed = nn.Sequential(
            nn.Linear(c.keyboard_dim_in, c.hidden_size), nn.SiLU(), nn.Linear(c.hidden_size, c.hidden_size)
        )
        self.key_attn_q_norm = _norm(c, width)
        self.key_attn_k_norm = _norm(c, width)
        # the official name; it asks the keyboard
        self.mouse_attn_q = nn.Linear(c.img_hidden_size, width, bias=c.qkv_bias)
        self.keyboard_attn_kv = nn.Linear(window, width * 2, bias=c.qkv_bias)
        self.proj_keyboard = nn.Linear(width, c.img_hidden_size, bias=c.qkv_bias)

    def forward(
        self,
        x: Tensor,
        frames: int,
        rope: Rope,
        mouse: Tensor | None,
        keyboard: Tensor | None,
        mask: Mask | None = None,
        mouse_cache: LayerCache | None = None,
        keyboard_cache: LayerCache | None = None,
    ) -> Tensor:
        """x (B, frames*S, C); rope has a row a frame; mask (frames, frames) where there is no cache."""
        if self.config.enable_mouse and mouse is not None:
            x = x + self.mouse(x, frames, rope, mouse, mask, mouse_cache)
        if self.config.enable_keyboard and keyboard is not None:
            x = x + self.keyboard(x, frames, rope, keyboard, mask, keyboard_cache)
        return x

    def mouse(self, x: Tensor, frames: int, rope: Rope, actions: Tensor, mask: Mask | None, cache: LayerCache | None) -> Tensor:  # fmt: skip
        batch, spatial = x.shape[0], x.shape[1] // frames
        windows = action_windows(actions, frames, self.config).flatten(2)  # (B, F, 12*A)
        windows = windows[:, None].expand(-1, spatial, -1, -1).flatten(0, 1)
        over_time = x.unflatten(1, (frames, spatial)).transpose(1, 2).flatten(0, 1)  # (B*S, F, C)
        hidden = self.mouse_mlp(torch.cat([over_time, windows.to(x.dtype)], dim=-1))
        q, k, v = self.t_qkv(hidden).unflatten(-1, (3, self.config.heads_num, -1)).unbind(2)
        q, k = apply_rope(self.img_attn_q_norm(q), rope), apply_rope(self.img_attn_k_norm(k), rope)
        if cache is not None:
            k, v = cache.write(k, v)
        y = attend(q, k, v, mask).flatten(2).unflatten(0, (batch, spatial)).transpose(1, 2)
        return self.proj_mouse(y.flatten(1, 2))

    def keyboard(self, x: Tensor, frames: int, rope: Rope, actions: Tensor, mask: Mask | None, cache: LayerCache | None) -> Tensor:  # fmt: skip
        heads, spatial = self.config.heads_num, x.shape[1] // frames
        needed = actions[:, -tail_frames(frames, self.config) :].to(x.dtype)
        windows = action_windows(self.keyboard_embed(needed), frames, self.config)
        k, v = self.keyboard_attn_kv(windows.flatten(2)).unflatten(-1, (2, heads, -1)).unbind(2)  # (B, F, H, D)
        k = apply_rope(self.key_attn_k_norm(k), rope)
        q = self.key_attn_q_norm(self.mouse_attn_q(x).unflatten(-1, (heads, -1)))  # (B, F*S, H, D)
        q = apply_rope(q, (rope[0].repeat_interleave(spatial, 0), rope[1].repeat_interleave(spatial, 0)))
        if cache is not None:
            k, v = cache.write(k, v)
        mask = mask.repeat_interleave(spatial, 0) if isinstance(mask, Tensor) else mask
        return self.proj_keyboard(attend(q, k, v, mask).flatten(2))


def _norm(config: ActionConfig, width: int) -> nn.Module:
    return UnweightedRMSNorm(width // config.heads_num) if config.qk_norm else nn.Identity()
