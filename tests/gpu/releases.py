"""The releases that the gate opens: the published layout, names, dtypes and widths, random weights.

Matrix-Game is whole. Of A14B's 40 layers there are 4 or 2, and of its text encoder 2 small ones, with true configs beside
them: what is proved is how layers are driven, and 14 billion numbers take a minute to write.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tests.bench.make_random_release import RandomWeights, on_meta, write_config, write_release, write_vae
from tests.gpu.leg import Setting, leg
from tests.tiny_checkpoints import write_model, write_tokenizer, write_wan22
from tests.wan.checkpoints import save_shards
from wan.config import WAN_MODELS, T5Config
from wan.modules.model import WanModel
from wan.modules.t5 import T5Encoder
from wan.modules.tiny_vae import TinyVAE

LAYERS = {"t2v-A14B": 4, "i2v-A14B": 2}
TEXT_ENCODER = T5Config(vocab=40, dim=4096, dim_attn=256, dim_ffn=512, num_heads=4, num_layers=2)


@leg(20)
def release_game(setting: Setting) -> str:
    """Matrix-Game 2.0 as released, universal, with random weights, and a tiny VAE, are written."""
    write_release(setting.game, "universal", setting.rehearse)
    torch.manual_seed(0)
    torch.save(TinyVAE().state_dict(), setting.tiny_vae)
    return size_of(setting.game)


@leg(20, "release_game")
def release_modes(setting: Setting) -> str:
    """The two other variants of Matrix-Game are written beside the first."""
    for seed, mode in enumerate(("gta_drive", "templerun"), start=1):
        write_release(setting.game, mode, setting.rehearse, seed)
    return size_of(setting.game)


@leg(20)
def release_t2v(setting: Setting) -> str:
    """T2V-A14B as released, 4 layers of it, is written."""
    return write_a14b(setting, "t2v-A14B")


@leg(20)
def release_i2v(setting: Setting) -> str:
    """I2V-A14B as released, 2 layers of it, is written."""
    return write_a14b(setting, "i2v-A14B")


def write_a14b(setting: Setting, task: str) -> str:
    folder = setting.wan22(task)
    if setting.rehearse:
        write_wan22(folder, task[:3])
    else:
        write_narrow(folder, task)
    return size_of(folder)


def write_narrow(folder: Path, task: str) -> None:
    config = replace(WAN_MODELS[task], num_layers=LAYERS[task])
    for seed, name in enumerate(("high_noise_model", "low_noise_model")):
        tensors = RandomWeights(seed).of(on_meta(WanModel, config), "", torch.bfloat16)
        save_shards(folder / name, tensors, 2)
        write_config(folder / name, config)
    write_model(folder / "text_encoder", T5Encoder, TEXT_ENCODER, seed=2)
    write_tokenizer(folder / "google" / "umt5-xxl" / "tokenizer.json")
    write_vae(folder, RandomWeights(3))


def size_of(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 2**30:.1f} GiB"
