"""The embedded weights: folders laid out like the releases, so that the loaders of both commands open them as they are.

WORLD is a folder of Matrix-Game, SCENES one of Wan2.2. The models were trained in float32 copies and are stored in
float16.
"""

from __future__ import annotations

from pathlib import Path

import torch

from wan.fast.engine import Engine
from wan.files.checkpoint import find_in, load_causal, load_clip, load_vae
from wan.game.models import GameModels
from wan.game.modes import MODES
from wan.game.rollout import Sampling
from wan.modules.causal_model import CausalWanModel
from wanmini import sizes

FOLDER = Path(__file__).parent / "weights"
WORLD, SCENES = FOLDER / "world", FOLDER / "scenes"
SAMPLING = Sampling(sizes.DENOISING_STEPS, timestep_shift=sizes.SHIFT, num_frame_per_block=sizes.BLOCK)


def mini_world(
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    folder: Path = WORLD,
    cls: type[CausalWanModel] | None = None,
    vae_dtype: torch.dtype | None = None,
) -> GameModels:
    """The trained mini world; its video size is sizes.HEIGHT x sizes.WIDTH. The VAE may have a dtype of its own."""
    places = find_in(folder, "universal", "vae", "clip")
    causal, mode = load_causal(places["universal"], device=device, dtype=dtype, cls=cls)
    vae = load_vae(places["vae"], device=device, dtype=vae_dtype or dtype)
    return GameModels(MODES[mode], Engine(causal), vae, vae, load_clip(places["clip"], device=device, dtype=dtype))
