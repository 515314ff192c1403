"""The parts of a checkpoint, opened when they are needed: text encoder, two experts, VAE.

Where they are is known by then (wan22.places), and that they are what they are taken for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor

from wan.config import WanConfig
from wan.device import device_available, release
from wan.fast.held import hold_text_encoder
from wan.fast.offload import RING, stop_streaming, stream_from_file
from wan.fast.speed import Speed
from wan.files.checkpoint import load_t5, load_vae, load_wan, open_weights, skeleton, wan_config
from wan.files.loading import Finish
from wan.files.lora import Lora
from wan.modules.model import WanModel
from wan.modules.streaming import StreamedDecoder
from wan.modules.t5 import T5Encoder
from wan.modules.vae import WanVAE
from wan.text import TextEncoder, Tokenizer
from wan22.config import Task
from wan22.experts import Where
from wan22.memory import Needs, needs, usable_bytes
from wan22.places import Places
from wan22.plan import Expert


class Parts:
    """`dtype` is that of the experts; the text encoder runs in bfloat16 and the VAE encodes in float32, as upstream has
    them. It decodes in float32 too if the plain models are asked for, else on a GPU in float16, to the same 8 bits.
    `loras`, each with a strength, are added to an expert as it is loaded."""

    def __init__(
        self,
        places: Places,
        task: Task,
        device: torch.device | str,
        dtype: torch.dtype,
        t5_cpu: bool = False,
        speed: Speed | None = None,
        loras: Mapping[Expert, Sequence[tuple[Lora, float]]] | None = None,
    ):
        self.places, self.task, self.device, self.dtype = places, task, torch.device(device), dtype
        self.speed, self.loras = speed or Speed(), loras or {}
        self.speed.check(self.device)
        self.t5_device = torch.device("cpu") if t5_cpu else self.device
        self._decoder: StreamedDecoder | None = None

    @cached_property
    def config(self) -> WanConfig:
        """The experts' architecture, as the weights decide it."""
        return wan_config(self.places.high_noise)

    def needs(self, tokens: int) -> Needs:
        """Of memory, for videos of at most so many tokens."""
        model, stored = self._skeleton
        return needs(model, tokens, stored)

    @cached_property
    def _skeleton(self) -> tuple[WanModel, int]:
        """An expert without memory, its weights held as they will be, and the bytes its file has: the larger of the two."""
        finish = self.speed.finish(self.device)
        made = [
            skeleton(path, self.dtype, self.speed.wan_class, finish, self.loras.get(expert, ()))
            for expert, path in self.places.experts.items()
        ]
        return max(made, key=lambda pair: sum(p.nbytes for p in pair[0].parameters()))

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Each different prompt (L, text_dim) on the device; the encoder is freed before this returns."""
        different = list(dict.fromkeys(prompts))
        tokenizer = Tokenizer(self.places.tokenizer, self.config.text_len)
        model = self._load_text_encoder()
        contexts = TextEncoder(tokenizer, model).encode(different)
        on_device = {prompt: context.to(self.device) for prompt, context in zip(different, contexts, strict=True)}
        stop_streaming(model)
        del model, contexts
        release(self.t5_device)
        return on_device

    def _load_text_encoder(self) -> T5Encoder:
        """Layer by layer through the device if it is too large for that."""
        path, device, dtype = self.places.text_encoder, self.t5_device, torch.bfloat16
        finish = Finish(hold_text_encoder)
        if device.type == "cuda" and open_weights(path).nbytes(dtype) > 0.8 * device_available(device):
            finish = replace(finish, stream=partial(stream_from_file, finish=finish, device=device, slots=RING))
        return load_t5(path, device=device, dtype=dtype, finish=finish)

    def load_expert(self, expert: Expert, where: Where) -> WanModel:
        path, kind, cls = self.places.experts[expert], self.task.model.model_type, self.speed.wan_class
        finish = self.speed.finish(self.device)
        if where.blocks:
            stream = partial(stream_from_file, finish=finish, device=where.device, slots=where.blocks)
            finish = replace(finish, stream=stream)
        model = load_wan(
            path,
            device=where.device,
            dtype=self.dtype,
            cls=cls,
            model_type=kind,
            finish=finish,
            loras=self.loras.get(expert, ()),
        )
        self.speed.finish_wan(model)
        return model

    def load_vae(self, dtype: torch.dtype = torch.float32) -> WanVAE:
        vae = load_vae(self.places.vae, device=self.device, dtype=dtype)
        vae.memory = usable_bytes(self.device)
        return vae

    @property
    def decoder(self) -> StreamedDecoder:
        if self._decoder is None:
            half = self.device.type == "cuda" and not self.speed.plain
            self._decoder = self.speed.decoder(self.load_vae(torch.float16 if half else torch.float32))
        return self._decoder
