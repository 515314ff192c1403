"""The parts of a checkpoint folder, opened when they are needed: text encoder, two experts, VAE.

The folder is looked at first and as a whole, so that what is missing or mixed up is said before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from wan.config import WanConfig
from wan.device import release
from wan.fast.speed import Speed
from wan.files.checkpoint import find_in, load_t5, load_vae, load_wan, open_weights, wan_config
from wan.files.key_names import EXPERT
from wan.modules.model import WanModel
from wan.modules.streaming import StreamedDecoder
from wan.modules.vae import WanVAE
from wan.text import TextEncoder, Tokenizer
from wan22.config import Task, no_switch
from wan22.experts import HOST
from wan22.memory import usable_bytes
from wan22.plan import Expert


class Parts:
    """`dtype` is that of the experts; the text encoder runs in bfloat16 and the VAE encodes in float32, as upstream has
    them. It decodes in float32 too if the plain models are asked for, else on a GPU in float16, to the same 8 bits."""

    def __init__(
        self,
        folder: Path | str,
        task: Task,
        device: torch.device | str,
        dtype: torch.dtype,
        t5_cpu: bool = False,
        half: bool = False,
        speed: Speed | None = None,
    ):
        self.task, self.device, self.dtype = task, torch.device(device), dtype
        self.speed = speed or Speed()
        self.speed.check(self.device)
        self.t5_device = torch.device("cpu") if t5_cpu else self.device
        check_two_experts(Path(folder), half)
        self.paths = find_in(folder, "high_noise", "low_noise", "text_encoder", "tokenizer", "vae")
        self._experts: dict[Expert, Path] = {"high": self.paths["high_noise"], "low": self.paths["low_noise"]}
        check_not_mixed_up(self._experts, task)
        self._decoder: StreamedDecoder | None = None

    @cached_property
    def config(self) -> WanConfig:
        """The experts' architecture, as the weights decide it."""
        return wan_config(self._experts["high"])

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Each different prompt (L, text_dim) on the device; the encoder is freed before this returns."""
        different = list(dict.fromkeys(prompts))
        tokenizer = Tokenizer(self.paths["tokenizer"], self.config.text_len)
        model = load_t5(self.paths["text_encoder"], device=self.t5_device, dtype=torch.bfloat16)
        contexts = TextEncoder(tokenizer, model).encode(different)
        on_device = {prompt: context.to(self.device) for prompt, context in zip(different, contexts, strict=True)}
        del model, contexts
        release(self.t5_device)
        return on_device

    def load_expert(self, expert: Expert, device: torch.device) -> WanModel:
        path, kind = self._experts[expert], self.task.model.model_type
        # what is quantised need not fit the device before it is
        first = HOST if self.speed.fp8 else device
        model = load_wan(path, device=first, dtype=self.dtype, cls=self.speed.wan_class, model_type=kind)
        self.speed.finish_wan(model, on=self.device)
        return model.to(device)

    def load_vae(self, dtype: torch.dtype = torch.float32) -> WanVAE:
        vae = load_vae(self.paths["vae"], device=self.device, dtype=dtype)
        vae.memory = usable_bytes(self.device)
        return vae

    @property
    def decoder(self) -> StreamedDecoder:
        if self._decoder is None:
            half = self.device.type == "cuda" and not self.speed.plain
            self._decoder = self.speed.decoder(self.load_vae(torch.float16 if half else torch.float32))
        return self._decoder


def check_two_experts(folder: Path, half: bool) -> None:
    """A checkpoint that is one model gets a reason, not a list of what it lacks."""
    alone = (folder / "transformer").exists() and not (folder / "transformer_2").exists()
    if not (folder.is_file() or alone or any(folder.glob("diffusion_pytorch_model*"))):
        return
    if half:
        raise no_switch(folder)
    raise ValueError(
        f"{folder} is one model; wan22 runs releases of two experts, such as Wan2.2-T2V-A14B: name its folder"
    )


def check_not_mixed_up(experts: dict[Expert, Path], task: Task) -> None:
    """The two have the same shapes, so names and values are all there is to tell a high-noise expert from a low-noise one."""
    pairs: tuple[tuple[Expert, Expert], ...] = (("high", "low"), ("low", "high"))
    for expert, other in pairs:
        name = experts[expert].resolve().name  # a link by the right name may lead to the wrong folder
        if other in name and expert not in name:
            raise ValueError(
                f"the {expert}-noise expert is {experts[expert].resolve()}: the two are swapped; exchange them"
            )
    if torch.equal(*(modulation(path, task) for path in experts.values())):
        raise ValueError(f"{experts['high']} and {experts['low']} are the same expert twice; download the other one")


def modulation(path: Path, task: Task) -> Tensor:
    """A few numbers that training has made an expert's own."""
    weights = open_weights(path)
    if weights.holds != EXPERT:
        raise ValueError(f"{path} holds {weights.holds}; {EXPERT} is needed here")
    channels, wanted = weights.shape("patch_embedding.weight")[1], task.model.in_dim
    if channels != wanted:
        raise ValueError(
            f"{path} reads {channels} channels where {task.name} has {wanted}; use the command it was made for"
        )
    numbers = torch.empty(weights.shape("head.modulation"))
    weights.read_into("head.modulation", numbers, scratch=torch.empty(numbers.nbytes, dtype=torch.uint8))
    return numbers
