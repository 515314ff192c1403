"""Encoded walks kept on the device, a few thousand at a time, the oldest replaced by new ones while training goes on.

Drawing and encoding a walk costs about as much as training on it several times; so each is used several times, and
none is kept for long.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wan.image import masked
from wan.latents import video_frames
from wan.modules.vae import WanVAE
from wanmini.clips import WorldClips, WorldSource


@torch.no_grad()
def encode(vae: WanVAE, clips: WorldClips, latent_frames: int) -> dict[str, Tensor]:
    """What is kept of clips: latents, what the model is given beside them, and the start image as bytes."""
    image = clips.video[:, :, 0]
    latents = vae.encode(clips.video, whole=True)
    return {
        "latents": latents,
        "concat": masked(vae.encode_image(image, latent_frames)),
        "image": ((image + 1) * 127.5).round().byte(),
        "mouse": clips.mouse,
        "keyboard": clips.keyboard,
    }


def picture(image: Tensor) -> Tensor:
    """Bytes back to [-1, 1]."""
    return image.float() / 127.5 - 1


class WorldPool:
    def __init__(self, vae: WanVAE, source: WorldSource, size: int, batch: int, latent_frames: int):
        self.vae, self.source, self.size, self.batch, self.latent_frames = vae, source, size, batch, latent_frames
        self.kept: dict[str, Tensor] = {}
        self.count = self.next = 0

    def refresh(self) -> None:
        """One more batch of walks, in place of the oldest."""
        fresh = encode(self.vae, self.source.draw(self.batch, video_frames(self.latent_frames)), self.latent_frames)
        for name, values in fresh.items():
            if name not in self.kept:
                self.kept[name] = values.new_empty(self.size, *values.shape[1:])
            self.kept[name][self.next : self.next + self.batch] = values
        self.next = (self.next + self.batch) % self.size
        self.count = min(self.count + self.batch, self.size)

    def named(self, *values: Tensor) -> dict[str, Tensor]:
        """The values of a batch with their names again."""
        return dict(zip(self.kept, values, strict=True))

    def sample(self, n: int) -> dict[str, Tensor]:
        which = torch.randint(self.count, (n,), device=self.source.device)
        return {name: values[which] for name, values in self.kept.items()}
