"""Tiny random checkpoints in the folder layout of the releases, so that every command runs end to end on a CPU in seconds.

A config.json in each model's folder says how small it is, as the official ones say how large.
"""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from wan.config import T5Config, VAEConfig, WanConfig
from wan.modules.model import WanModel
from wan.modules.t5 import T5Encoder
from wan.modules.vae import WanVAE

TEXT_DIM = 32
TEXT_LEN = 12
TINY_T5 = T5Config(vocab=40, dim=TEXT_DIM, dim_attn=32, dim_ffn=48, num_heads=2, num_layers=2)
TINY_VAE = VAEConfig(dim=4, num_res_blocks=1)


def tiny_expert(model_type: str = "t2v") -> WanConfig:
    in_dim = 36 if model_type == "i2v" else 16
    return WanConfig(
        model_type=model_type, in_dim=in_dim, dim=48, ffn_dim=96, freq_dim=32, num_heads=2, num_layers=2,
        text_len=TEXT_LEN, text_dim=TEXT_DIM,
    )  # fmt: skip


def write_wan22(folder: Path, model_type: str = "t2v") -> Path:
    """A whole Wan2.2 checkpoint: two experts, text encoder, tokenizer, VAE."""
    for seed, name in enumerate(("high_noise_model", "low_noise_model")):
        write_model(folder / name, WanModel, tiny_expert(model_type), seed, "diffusion_pytorch_model")
    write_model(folder / "text_encoder", T5Encoder, TINY_T5, 2)
    write_model(folder / "vae", WanVAE, TINY_VAE, 3)
    write_tokenizer(folder / "google" / "umt5-xxl" / "tokenizer.json")
    return folder


def write_model(folder: Path, cls, config, seed: int, stem: str = "model") -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(asdict(config)))
    torch.manual_seed(seed)
    save_file(cls(config).state_dict(), folder / f"{stem}.safetensors")


def write_tokenizer(path: Path) -> None:
    """Built as the released one is: a unigram model that closes every prompt with </s>."""
    words = ["<pad>", "</s>", "<unk>", "▁a", "▁cat", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.Unigram([(w, -float(i)) for i, w in enumerate(words)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    path.parent.mkdir(parents=True)
    tokenizer.save(str(path))
