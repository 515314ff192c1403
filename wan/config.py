"""Every architecture as a frozen dataclass, and the released models by name.

Fields carry the names of the official configs, so a config.json maps onto them one to one; what a released
config.json leaves out (or states wrongly) is stated here once. No torch in this file: the command line reads it too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from wan import schema

T = TypeVar("T")


def share(channels: int, heads: int) -> None:
    """What no shape of a tensor says: that the heads divide what they share."""
    if heads < 1 or channels % heads:
        raise ValueError(
            f"{channels} channels cannot be shared by {heads} heads; a config has a number that divides them"
        )


@dataclass(frozen=True)
class ActionConfig:
    """Keyboard and mouse conditions of one causal model; `blocks` are the layers that carry an action module."""

    blocks: tuple[int, ...] = tuple(range(15))
    enable_keyboard: bool = True
    enable_mouse: bool = True
    heads_num: int = 16
    hidden_size: int = 128
    img_hidden_size: int = 1536
    keyboard_dim_in: int = 4
    keyboard_hidden_dim: int = 1024
    mouse_dim_in: int = 2
    mouse_hidden_dim: int = 1024
    mouse_qk_dim_list: tuple[int, ...] = (8, 28, 28)
    patch_size: tuple[int, int, int] = (1, 2, 2)
    qk_norm: bool = True
    qkv_bias: bool = False
    rope_dim_list: tuple[int, ...] = (8, 28, 28)
    rope_theta: int = 256
    vae_time_compression_ratio: int = 4
    windows_size: int = 3

    def __post_init__(self) -> None:
        share(self.keyboard_hidden_dim, self.heads_num)
        share(self.mouse_hidden_dim, self.heads_num)
        if sum(self.rope_dim_list) != self.keyboard_hidden_dim // self.heads_num:
            raise ValueError(f"rope_dim_list {self.rope_dim_list} is not the channels of one of {self.heads_num} heads")


@dataclass(frozen=True)
class CausalConfig:
    """Matrix-Game 2.0: a Wan 1.3B-like backbone conditioned on an image, generated a few latent frames at a time."""

    model_type: str = "i2v"
    patch_size: tuple[int, int, int] = (1, 2, 2)
    text_len: int = 512
    in_dim: int = 36
    dim: int = 1536
    ffn_dim: int = 8960
    freq_dim: int = 256
    out_dim: int = 16
    num_heads: int = 12
    num_layers: int = 30
    local_attn_size: int = 6
    sink_size: int = 0
    qk_norm: bool = True
    cross_attn_norm: bool = True
    eps: float = 1e-6
    visual_dim: int = 1280
    action_config: ActionConfig | None = field(default_factory=ActionConfig)

    def __post_init__(self) -> None:
        share(self.dim, self.num_heads)


@dataclass(frozen=True)
class WanConfig:
    """One expert of Wan2.2 A14B (t2v, or i2v with its condition concatenated to the latents)."""

    model_type: str = "t2v"
    patch_size: tuple[int, int, int] = (1, 2, 2)
    text_len: int = 512
    in_dim: int = 16
    dim: int = 5120
    ffn_dim: int = 13824
    freq_dim: int = 256
    text_dim: int = 4096
    out_dim: int = 16
    num_heads: int = 40
    num_layers: int = 40
    qk_norm: bool = True
    cross_attn_norm: bool = True
    eps: float = 1e-6

    def __post_init__(self) -> None:
        share(self.dim, self.num_heads)


# Published mean and standard deviation of the Wan 2.1 latents, channel by channel.
WAN21_MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)  # fmt: skip
WAN21_STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)  # fmt: skip


@dataclass(frozen=True)
class VAEConfig:
    """The causal video VAE of Wan 2.1: 8x in space, 4x in time after the first frame."""

    dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attn_scales: tuple[float, ...] = ()
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    dropout: float = 0.0
    mean: tuple[float, ...] = WAN21_MEAN
    std: tuple[float, ...] = WAN21_STD


@dataclass(frozen=True)
class CLIPConfig:
    """The vision tower of open-clip XLM-RoBERTa ViT-H/14; its last layer exists in the file and is not run."""

    image_size: int = 224
    patch_size: int = 14
    dim: int = 1280
    mlp_ratio: int = 4
    out_dim: int = 1024
    num_heads: int = 16
    num_layers: int = 32
    pool_type: str = "token"
    pre_norm: bool = True
    post_norm: bool = False
    activation: str = "gelu"
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        share(self.dim, self.num_heads)


@dataclass(frozen=True)
class T5Config:
    """UMT5 encoder; `shared_pos` False is what makes it "U": every layer has its own position bias."""

    vocab: int = 256384
    dim: int = 4096
    dim_attn: int = 4096
    dim_ffn: int = 10240
    num_heads: int = 64
    num_layers: int = 24
    num_buckets: int = 32
    shared_pos: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        share(self.dim_attn, self.num_heads)


UNIVERSAL = CausalConfig()
GTA_DRIVE = CausalConfig(local_attn_size=4, action_config=ActionConfig(keyboard_dim_in=2))
TEMPLERUN = CausalConfig(action_config=ActionConfig(keyboard_dim_in=7, enable_mouse=False))
CAUSAL_MODELS = {"universal": UNIVERSAL, "gta_drive": GTA_DRIVE, "templerun": TEMPLERUN}

T2V_A14B = WanConfig()
I2V_A14B = WanConfig(model_type="i2v", in_dim=36)
WAN_MODELS = {"t2v-A14B": T2V_A14B, "i2v-A14B": I2V_A14B}

WAN21_VAE = VAEConfig()
CLIP_VIT_H_14 = CLIPConfig()
UMT5_XXL = T5Config()


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """A config from official JSON, each value held to its field; `action_config` nests, and an empty one is none.

    Unknown keys are ignored on purpose: official files carry notes and training leftovers (`inject_sample_info`).
    """
    kept = dict(values)
    if isinstance(action := kept.get("action_config"), dict):
        kept["action_config"] = from_dict(ActionConfig, action) if action else None
    return cls(**schema.known(cls, kept))
