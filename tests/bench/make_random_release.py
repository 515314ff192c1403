"""A folder like the released Matrix-Game 2.0, with random weights: python -m tests.bench.make_random_release FOLDER.

The real layout, names, dtypes and sizes (one variant, VAE, CLIP: 5 GB), so that the command line runs at full size
without a download; only the pictures mean nothing. `--small` makes toy models instead, each with its config.json. A
second variant in the same folder shares its VAE and CLIP, as in the release.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from wan.config import CAUSAL_MODELS, CLIP_VIT_H_14, WAN21_VAE
from wan.modules.causal_model import CausalWanModel
from wan.modules.clip import CLIPVision
from wan.modules.vae import WanVAE
from wanmini.random_world import CLIP, VAE, causal_config

CHECKPOINTS = {
    "universal": "base_distilled_model/base_distill.safetensors",
    "gta_drive": "gta_distilled_model/gta_keyboard2dim.safetensors",
    "templerun": "templerun_distilled_model/templerun_7dim_onlykey.safetensors",
}
CLIP_FILE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
POOL = 1 << 24  # drawing every number of 1.6 billion takes minutes; slices of one pool are as good here


class RandomWeights:
    """Values of the size that training starts with, so that activations stay finite through any depth."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)
        self.pool = torch.randn(POOL, generator=self.generator)

    def of(self, module: nn.Module, prefix: str, dtype: torch.dtype) -> dict[str, Tensor]:
        pool = self.pool.to(dtype)  # once: what is drawn is then written without another pass over it
        return {prefix + name: self._tensor(name, t.shape, pool) for name, t in module.state_dict().items()}

    def _tensor(self, name: str, shape: torch.Size, pool: Tensor) -> Tensor:
        if len(shape) == 1 and name.endswith("weight") or name.endswith("gamma"):  # a norm
            return torch.ones(shape, dtype=pool.dtype)
        if name.endswith("bias"):
            return torch.zeros(shape, dtype=pool.dtype)
        return self._piece(shape.numel(), pool).mul(1 / math.sqrt(math.prod(shape[1:]))).view(shape)

    def _piece(self, count: int, pool: Tensor) -> Tensor:
        length = min(count, POOL)
        start = int(torch.randint(POOL - length + 1, (1,), generator=self.generator))
        piece = pool[start : start + length]
        return piece if count == length else piece.repeat(-(-count // length))[:count]


def write_release(folder: Path, mode: str, small: bool, seed: int = 0) -> Path:
    """Everything `mg generate` opens, less what is there already; the path of the checkpoint."""
    weights = RandomWeights(seed)
    causal = folder / CHECKPOINTS[mode]
    causal.parent.mkdir(parents=True, exist_ok=True)
    config = causal_config(mode) if small else CAUSAL_MODELS[mode]
    save_file(weights.of(on_meta(CausalWanModel, config), "model.", torch.bfloat16), causal)
    if small:
        write_config(causal.parent, config)
        write_part(folder / "vae", weights.of(on_meta(WanVAE, VAE), "", torch.float32), VAE)
        write_part(folder / "image_encoder", weights.of(on_meta(CLIPVision, CLIP), "visual.", torch.float32), CLIP)
    elif not (folder / CLIP_FILE).exists():
        write_vae(folder, weights)
        torch.save(weights.of(on_meta(CLIPVision, CLIP_VIT_H_14), "visual.", torch.float16), folder / CLIP_FILE)
    return causal


def write_vae(folder: Path, weights: RandomWeights) -> None:
    """The one that both products have, as their releases name it."""
    torch.save(weights.of(on_meta(WanVAE, WAN21_VAE), "", torch.float32), folder / "Wan2.1_VAE.pth")


def on_meta(cls: type[nn.Module], config: Any) -> nn.Module:
    with torch.device("meta"):
        return cls(config)


def write_part(folder: Path, tensors: dict[str, Tensor], config: Any) -> None:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    write_config(folder, config)


def write_config(folder: Path, config: Any) -> None:
    (folder / "config.json").write_text(json.dumps(asdict(config)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mode", choices=CHECKPOINTS, default="universal")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.perf_counter()
    print(write_release(given.folder, given.mode, given.small, given.seed))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
