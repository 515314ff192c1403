"""Tiny random checkpoints in the folder layouts that people have, so that every command runs end to end on a CPU in seconds.

A config.json in each model's folder says how small it is, as the official ones say how large.
"""

import json
import struct
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
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


WORDS = ["<pad>", "</s>", "<unk>", "▁a", "▁cat", "▁", *"abcdefghijklmnopqrstuvwxyz"]


def write_tokenizer(path: Path) -> None:
    """Built as the released one is: a unigram model that closes every prompt with </s>."""
    tokenizer = Tokenizer(models.Unigram([(w, -float(i)) for i, w in enumerate(WORDS)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    path.parent.mkdir(parents=True)
    tokenizer.save(str(path))


def spiece_model() -> bytes:
    """The same tokenizer as a SentencePiece model: messages of fields, a tag and a length before each."""
    kinds = {"<pad>": 3, "</s>": 3, "<unk>": 2}
    pieces = [
        field(1, word.encode()) + b"\x15" + struct.pack("<f", -float(i)) + b"\x18" + bytes([kinds.get(word, 1)])
        for i, word in enumerate(WORDS)
    ]
    trainer = b"\x18\x01" + b"\xc0\x02\x02"  # unigram; <unk> is 2
    return b"".join(field(1, piece) for piece in pieces) + field(2, trainer)


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


COMFYUI_NAMES = {"high": "wan2.2_{}_high_noise_14B_fp16", "low": "wan2.2_{}_low_noise_14B_fp16"}
TEXT_ENCODER_KEYS = (
    ("token_embedding.", "shared."), (".pos_embedding.embedding.", ".layer.0.SelfAttention.relative_attention_bias."),
    (".attn.", ".layer.0.SelfAttention."), (".norm1.", ".layer.0.layer_norm."), (".norm2.", ".layer.1.layer_norm."),
    (".ffn.gate.0.", ".layer.1.DenseReluDense.wi_0."), (".ffn.fc1.", ".layer.1.DenseReluDense.wi_1."),
    (".ffn.fc2.", ".layer.1.DenseReluDense.wo."), ("blocks.", "encoder.block."),
)  # fmt: skip


def write_comfyui(folder: Path, official: Path, kind: str = "t2v") -> Path:
    """The weights of an official folder as ComfyUI has them: single files on shelves, tokenizer in the text encoder."""
    for noise, name in COMFYUI_NAMES.items():
        single_file(official / f"{noise}_noise_model", folder / "diffusion_models" / f"{name.format(kind)}.safetensors")
    encoder = folder / "text_encoders" / "umt5_xxl_fp16.safetensors"
    single_file(official / "text_encoder", encoder, text_encoder_key, spiece_model())
    single_file(official / "vae", folder / "vae" / "wan_2.1_vae.safetensors", str)
    return folder


def single_file(
    model: Path, file: Path, key=lambda name: f"model.diffusion_model.{name}", tokenizer: bytes = b""
) -> Path:
    """One model of an official folder, with its config.json beside it, which says how small it is."""
    tensors = {key(name): tensor for part in model.glob("*.safetensors") for name, tensor in load_file(part).items()}
    if tokenizer:
        tensors["spiece_model"] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    (file.parent / "config.json").write_bytes((model / "config.json").read_bytes())
    return file


def text_encoder_key(name: str) -> str:
    if name == "norm.weight":
        return "encoder.final_layer_norm.weight"
    for ours, theirs in TEXT_ENCODER_KEYS:
        name = name.replace(ours, theirs)
    return name
