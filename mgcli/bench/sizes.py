"""At which sizes the game model is measured: the released ones here, small ones wherever they are defined.

Weights and inputs are random: time does not depend on what a model was trained for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wan.config import UNIVERSAL, WAN21_VAE, CausalConfig, VAEConfig
from wan.game.modes import UNIVERSAL as UNIVERSAL_MODE
from wan.game.modes import Mode
from wan.game.rollout import LATENT_CHANNELS, Sampling
from wan.image import MASK_CHANNELS

CONDITION_CHANNELS = MASK_CHANNELS + LATENT_CHANNELS


@dataclass(frozen=True)
class GameSize:
    label: str
    causal: CausalConfig
    vae: VAEConfig
    latent: tuple[int, int]  # height and width
    image_tokens: int
    dtype: torch.dtype
    vae_dtype: torch.dtype
    windows: tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    mode: Mode = UNIVERSAL_MODE
    tiny_vae: bool = True  # it pays here
    goals: Mapping[str, float] = field(default_factory=dict)  # case -> milliseconds on one H100

    @property
    def block(self) -> int:
        return self.sampling.num_frame_per_block

    @property
    def tokens(self) -> int:
        """Of one latent frame."""
        _, rows, columns = self.causal.patch_size
        return (self.latent[0] // rows) * (self.latent[1] // columns)


RELEASED = GameSize(
    label="released size, random weights: 352x640, 3 latent frames a block",
    causal=UNIVERSAL,
    vae=WAN21_VAE,
    latent=(44, 80),
    image_tokens=257,
    dtype=torch.bfloat16,
    vae_dtype=torch.float16,
    windows=(6, 15),
    goals={"forward-6": 26, "forward-15": 34, "decode": 60, "block": 165, "key-press": 130},
)


class Draw:
    """Random inputs, the same for every dtype and row of a case."""

    def __init__(self, device: torch.device, dtype: torch.dtype):
        self.device, self.dtype = device, dtype
        self.generator = torch.Generator(device).manual_seed(1)

    def __call__(self, *shape: int) -> Tensor:
        """Rounded to bfloat16, so that the float32 reference is given what the others are."""
        return torch.randn(shape, generator=self.generator, device=self.device, dtype=torch.bfloat16).to(self.dtype)
