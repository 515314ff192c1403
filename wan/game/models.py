"""The models a game is played with, and how a world of theirs begins.

They arrive here finished: loaded, cast, on their device, perhaps made faster. The decoder may be another than the VAE
that encodes the start image (a tiny one, a compiled one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from wan.fast.engine import Engine
from wan.game.conditions import image_condition, image_tensor
from wan.game.modes import Mode
from wan.game.rollout import Sampling, SeededNoise, World
from wan.modules.causal_model import CausalWanModel
from wan.modules.clip import CLIPVision
from wan.modules.streaming import StreamedDecoder
from wan.modules.vae import WanVAE


@dataclass(frozen=True)
class GameModels:
    mode: Mode
    engine: Engine
    vae: WanVAE
    decoder: StreamedDecoder
    clip: CLIPVision

    @property
    def causal(self) -> CausalWanModel:
        return self.engine.model

    def check_size(self, height: int, width: int) -> None:
        """Video sizes are whole patches of whole latent pixels, on each side for itself."""
        _, *patch = self.causal.config.patch_size
        for name, given, step in zip(("height", "width"), (height, width), patch):
            step *= self.vae.space_factor
            if given < step or given % step:
                below = given // step * step
                near = f"{below} or {below + step}" if below > 0 else f"{step}"
                raise ValueError(f"{name} {given} does not fit the model, which needs a multiple of {step}: use {near}")

    def start(
        self, images: Sequence[Image.Image], seeds: Sequence[int], sampling: Sampling, height: int, width: int
    ) -> World:
        """A world for each image, with its own seed; together they are one batch. It ends the one begun before."""
        self.check_size(height, width)
        pixels = torch.stack([image_tensor(image, height, width) for image in images]).to(self.causal.device)
        condition = image_condition(pixels, self.vae, self.clip)
        return World(self.mode, self.engine, self.decoder, condition, SeededNoise(seeds), sampling)
