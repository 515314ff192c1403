"""Times the official Matrix-Game and Wan2.2 code: `python -m mgcli.bench.official_process JOB RESULT DEVICE`; after `enter`,
`wan` is theirs.

A checkout is used as it is and nothing of it is kept. Its packages are entered past their __init__ files, which import
far more than the model; what is not installed of flash-attn and diffusers is stood in for, attention by torch's own.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from mgcli.bench.random_weights import fill
from mgcli.bench.timing import Budget, measure


def attention(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> Tensor:
    """What flash-attn computes, for (B, L, H, D), in the dtype of the values; no lengths here differ from L."""
    queries, keys, values = (x.to(v.dtype).transpose(1, 2) for x in (q, k, v))
    return nn.functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).to(q.dtype)


def enter(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    for package in ("wan", "wan.modules"):
        stand_in(package).__path__ = [str(checkout / package.replace(".", "/"))]
    if importlib.util.find_spec("flash_attn") is None:
        stand_in("flash_attn", flash_attn_func=attention)
        stand_in("wan.modules.attention", attention=attention, flash_attention=attention)
    if importlib.util.find_spec("diffusers") is None:
        config, original, peft = (type(name, (), {}) for name in ("ConfigMixin", "FromOriginalModelMixin", "PeftAdapterMixin"))  # fmt: skip
        stand_in("diffusers")
        stand_in("diffusers.configuration_utils", ConfigMixin=config, register_to_config=lambda init: init)
        stand_in("diffusers.models")
        stand_in("diffusers.models.modeling_utils", ModelMixin=nn.Module)
        stand_in("diffusers.loaders", FromOriginalModelMixin=original, PeftAdapterMixin=peft)


def stand_in(name: str, **contents: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(contents)
    sys.modules[name] = module
    return module


class Forward:
    """The model with its own caches, as the official pipeline allocates them."""

    def __init__(self, job: dict[str, Any], device: torch.device):
        from wan.modules.causal_model import CausalWanModel

        self.config, self.inputs, self.tokens = job["causal"], job["inputs"], job["tokens"]
        self.timestep = job["timestep"]
        config = {k: v for k, v in self.config.items() if k != "visual_dim"}
        with torch.device(device):
            self.model = CausalWanModel(**config)
        fill(self.model.to(device, job["dtype"]))
        self.model.num_frame_per_block = self.frames = self.inputs[0]["x"].shape[2]
        self.caches = self.new_caches(device, job["dtype"])

    def new_caches(self, device: torch.device, dtype: torch.dtype) -> dict[str, list[dict[str, Any]]]:
        c, action = self.config, self.config["action_config"]
        window, heads = c["local_attn_size"], action["heads_num"]

        def rolling(rows: int, length: int, heads: int, width: int) -> list[dict[str, Any]]:
            return [
                {name: torch.zeros(rows, length, heads, width, device=device, dtype=dtype) for name in ("k", "v")}
                | {
                    f"{where}_end_index": torch.zeros(1, dtype=torch.long, device=device)
                    for where in ("global", "local")
                }
                for _ in range(c["num_layers"])
            ]

        return {
            "kv_cache": rolling(1, window * self.tokens, c["num_heads"], c["dim"] // c["num_heads"]),
            "kv_cache_mouse": rolling(self.tokens, window, heads, action["mouse_hidden_dim"] // heads),
            "kv_cache_keyboard": rolling(1, window, heads, action["keyboard_hidden_dim"] // heads),
            "crossattn_cache": [{"is_init": False} for _ in range(c["num_layers"])],
        }

    def block(self, i: int) -> Tensor:
        x = self.inputs[i]["x"]
        t = torch.full((1, self.frames), self.timestep, device=x.device)
        return self.model(**self.inputs[i], t=t, **self.caches, current_start=i * self.frames * self.tokens)

    def outputs(self) -> Tensor:
        return torch.cat([self.block(i) for i in range(len(self.inputs))], dim=2)

    def call(self) -> Tensor:
        return self.block(len(self.inputs) - 1)


class Decode:
    """The streaming decoder with its list of caches."""

    def __init__(self, job: dict[str, Any], device: torch.device):
        from demo_utils.vae_block3 import VAEDecoderWrapper

        self.decoder = fill(VAEDecoderWrapper().to(device, job["vae_dtype"]))
        self.chunks = [chunk.to(job["vae_dtype"]).transpose(1, 2) for chunk in job["chunks"]]  # (B, n, C, h, w)
        self.cache: list[Any] = [None] * self.decoder.decoder.decoder_conv_num

    def chunk(self, i: int) -> Tensor:
        frames, self.cache = self.decoder(self.chunks[i], *self.cache)
        return frames.transpose(1, 2)

    def outputs(self) -> Tensor:
        return torch.cat([self.chunk(i) for i in range(len(self.chunks))], dim=2)

    def call(self) -> Tensor:
        return self.chunk(len(self.chunks) - 1)


class WholeBlock:
    """The forwards and the decode of a block, without what lies between them."""

    def __init__(self, job: dict[str, Any], device: torch.device):
        self.forward, self.decode, self.forwards = Forward(job, device), Decode(job, device), job["forwards"]

    def outputs(self) -> None:
        self.forward.outputs()
        self.decode.outputs()

    def call(self) -> None:
        for _ in range(self.forwards):
            self.forward.call()
        self.decode.call()


class Expert:
    """One forward of a Wan2.2 expert, in the autocast that its pipeline runs it in."""

    def __init__(self, job: dict[str, Any], device: torch.device):
        from wan.modules.model import WanModel

        config, make = job["expert"], cast(Any, WanModel)  # theirs is made from other arguments than ours
        with torch.device("meta"):
            self.model = make(**config)
        fill(self.model.to(job["dtype"]).to_empty(device=device))
        width = config["dim"] // config["num_heads"]
        self.model.freqs = make(dim=width, num_heads=1, num_layers=0).freqs  # no parameter: it stayed on meta
        self.x, self.prompt, self.job, self.device = job["x"], job["prompt"], job, device

    def call(self) -> Tensor:
        t = torch.tensor([self.job["timestep"]], device=self.device)
        with torch.autocast(self.device.type, self.job["dtype"], enabled=self.device.type == "cuda"):
            return self.model([self.x[0]], t, [self.prompt], self.job["tokens"])[0][None]

    outputs = call


class Video:
    """The forwards of a whole video and its decoding in float32, as the pipeline does it."""

    def __init__(self, job: dict[str, Any], device: torch.device):
        from wan.modules.vae2_1 import WanVAE_

        self.expert, self.forwards, self.latents = Expert(job, device), job["forwards"], job["latents"]
        with torch.device("meta"):
            vae = WanVAE_(**job["vae"])
        self.vae = fill(vae.to_empty(device=device)).eval()

    def outputs(self) -> None:
        self.expert.call()
        self.decode()

    def call(self) -> None:
        for _ in range(self.forwards):
            self.expert.call()
        self.decode()

    def decode(self) -> Tensor:
        return self.vae.decode(self.latents, [0.0, 1.0]).float().clamp(-1, 1).cpu()


KINDS: dict[str, Any] = {"forward": Forward, "decode": Decode, "block": WholeBlock, "expert": Expert, "video": Video}


@torch.no_grad()
def run(job: dict[str, Any], device: torch.device) -> dict[str, Any]:
    work = KINDS[job["what"]](job, device)
    outputs = work.outputs()
    timing = measure(work.call, device, Budget(**job["budget"]))
    return {"outputs": None if outputs is None else outputs.float(), "timing": vars(timing)}


def main() -> None:
    job_file, result_file, device = sys.argv[1:]
    job = torch.load(job_file, map_location=device)
    enter(Path(job["checkout"]))
    torch.save(run(job, torch.device(device)), result_file)


if __name__ == "__main__":
    main()
