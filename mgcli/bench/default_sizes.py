"""The small sizes of a benchmark, for machines without a GPU: the architectures of the embedded models. Imports torch."""

from __future__ import annotations

import torch

from mgcli.bench.expert import ExpertSize
from mgcli.bench.sizes import GameSize
from wan.game.rollout import Sampling
from wan.latents import SPATIAL_STRIDE, latent_frames_for
from wanmini import sizes

LATENT = (sizes.HEIGHT // SPATIAL_STRIDE, sizes.WIDTH // SPATIAL_STRIDE)

GAME = GameSize(
    label=f"embedded world's size, random weights: {sizes.HEIGHT}x{sizes.WIDTH}, {sizes.BLOCK} latent frames a block",
    causal=sizes.CAUSAL,
    vae=sizes.VAE,
    latent=LATENT,
    image_tokens=(sizes.CLIP.image_size // sizes.CLIP.patch_size) ** 2 + 1,
    dtype=torch.float32,
    vae_dtype=torch.float32,
    windows=(sizes.CAUSAL.local_attn_size,),
    sampling=Sampling(sizes.DENOISING_STEPS, timestep_shift=sizes.SHIFT, num_frame_per_block=sizes.BLOCK),
    tiny_vae=False,  # larger than the VAE of this size
)
EXPERT = ExpertSize(
    label=f"embedded expert's size, random weights: {sizes.SIZE}, {sizes.SCENE_FRAMES} frames",
    model=sizes.EXPERT,
    vae=sizes.VAE,
    latents=(latent_frames_for(sizes.SCENE_FRAMES), *LATENT),
    size=sizes.SIZE,
    dtype=torch.float32,
    vae_dtypes=(torch.float32,),
)
