"""How fast models are run: which class a loader builds, and what is put around it afterwards.

The fast path is the default and equals the reference; `reference` asks for the plain models instead. Graphs exist on
CUDA only. `compile` is torch.compile of the reference's layers, one by one: on an H100 it takes a minute to start and
stays behind the fused kernels, and is there for hardware that has none. `fp8` is the one that is lossy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from torch import nn

from wan.fast.causal import OptimizedCausalWanModel
from wan.fast.engine import Engine
from wan.fast.expert import OptimizedWanModel
from wan.fast.fp8 import hold_fp8, quantise, quantise_block
from wan.fast.held import hold_blocks
from wan.fast.vae import OptimizedVAEDecoder
from wan.files.loading import Finish
from wan.files.weights import Weights
from wan.modules.attention import use_backend
from wan.modules.causal_model import CausalWanModel
from wan.modules.model import WanModel
from wan.modules.streaming import StreamedDecoder
from wan.modules.vae import WanVAE
from wan.refusal import Refusal

FP8_CAPABILITY = (8, 9)
SHAPES = 32  # compiled of a layer at most: every state of the window, with actions and without


@dataclass(frozen=True)
class Speed:
    reference: bool = False
    attention: str = "auto"
    compile: bool = False
    graphs: bool | None = None  # none: where they exist
    fp8: bool = False

    @property
    def plain(self) -> bool:
        return self.reference or self.compile

    @property
    def _plain_by(self) -> list[str]:
        """The settings that ask for a plain model."""
        return [name for name in ("reference", "compile") if getattr(self, name)]

    @property
    def causal_class(self) -> type[CausalWanModel]:
        return CausalWanModel if self.plain else OptimizedCausalWanModel

    @property
    def wan_class(self) -> type[WanModel]:
        return WanModel if self.plain else OptimizedWanModel

    def check(self, device: torch.device) -> None:
        """Refuse what would not happen, before anything is loaded; fix the attention backend."""
        if self.graphs and device.type != "cuda":
            raise Refusal(f"graphs need a CUDA GPU, this run is on {device.type}; leave them out", "graphs")
        if self.graphs and self.plain:
            raise Refusal("graphs are of the optimized model, not of a plain one; choose", "graphs", *self._plain_by)
        if self.fp8:
            self._check_fp8(device)
        if device.type == "cuda" and not self.reference and find_spec("triton") is None:
            raise Refusal(
                "the fast path needs Triton, which torch brings on Linux only; install it (on Windows: pip install "
                "triton-windows), or run the plain models",
                "reference",
            )
        use_backend(self.attention, device)

    def _check_fp8(self, device: torch.device) -> None:
        if self.plain:
            raise Refusal("8-bit floats are of the optimized model, not of a plain one; choose", "fp8", *self._plain_by)
        if device.type != "cuda":
            raise Refusal(f"8-bit floats need a CUDA GPU, this run is on {device.type}; leave them out", "fp8")
        if not has_fp8_products(device):
            has = torch.cuda.get_device_capability(device)
            needed = ".".join(map(str, FP8_CAPABILITY))
            raise Refusal(
                f"8-bit floats need a GPU of compute capability {needed}, this one has {has[0]}.{has[1]}; leave them out",
                "fp8",
            )

    def finish(self, device: torch.device) -> Finish:
        """What is done to a model while it is loaded, for this device: weights that the file has packed or in 8 bits stay
        so, others become 8-bit floats if that was asked for, block by block where that is fast."""
        if self.plain:
            return Finish()
        return Finish(partial(self._hold, device), quantise_block if self.fp8 else None, device)

    def _hold(self, device: torch.device, model: nn.Module, weights: Weights) -> None:
        hold_blocks(model, weights)
        if has_fp8_products(device) and not weights.full_precision:
            hold_fp8(model)

    def engine(self, model: CausalWanModel) -> Engine:
        """Call it once the weights are in place; the model itself changes."""
        if self.fp8:
            quantise(model)  # what was not when it was loaded
        if self.compile:
            compile_layers(model)
        return Engine(model, graphs=model.device.type == "cuda" and not self.plain and self.graphs is not False)

    def decoder(self, vae: WanVAE) -> StreamedDecoder:
        """What decodes in place of a VAE that is on its device. Graphs gain nothing here, neither time nor memory."""
        return vae if self.plain else OptimizedVAEDecoder(vae)

    def finish_wan(self, model: WanModel) -> None:
        if self.fp8:
            quantise(model)
        if self.compile:
            compile_layers(model)


def has_fp8_products(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= FP8_CAPABILITY


def compile_layers(model: CausalWanModel | WanModel) -> None:
    """Layer by layer, so that one compilation serves all of them; it is kept on disk by torch's own cache."""
    torch._dynamo.config.recompile_limit = SHAPES  # past it torch would run the rest eagerly, and say so in a log only
    for block in model.blocks:
        # each shape for itself: code for any shape, made at the second one, would round otherwise from then on
        block.compile(dynamic=False)
