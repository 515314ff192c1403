"""A stand-in for an Apple GPU: tensors that say "mps" and lie on the host, with the habits of the real one that bite.

No float64 and no float8 there; nothing but a number mixes with the host's tensors; and nobody who asks `is_cpu` or `is_cuda`
is told yes. What it computes is computed by the CPU, so results are the CPU's to the bit where the same is computed.
It cannot tell which operations Metal lacks, nor how well those that it has are done.
"""

import threading
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
MISSING = {torch.float64, torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2}
ACROSS = {
    aten._to_copy.default,
    aten.copy_.default,
    aten.index.Tensor,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
# these ask for a device's guard, which a build without Metal has not, before a dispatched operation is seen
GUARDED = {
    F.scaled_dot_product_attention, torch.Tensor.copy_, torch.Tensor.contiguous, torch.Tensor.new_tensor,
    torch.Tensor.__getitem__, torch.Tensor.__setitem__, torch.Tensor.nonzero, torch.Tensor.item, torch.Tensor.tolist,
    torch.Tensor.__int__, torch.Tensor.__float__, torch.Tensor.__bool__, torch.Tensor.__index__,
}  # fmt: skip

ASKED: set[str] = set()  # the operations


class OnApple(torch.Tensor):
    """`on_host` is where its numbers are."""

    @staticmethod
    def __new__(cls, on_host: torch.Tensor):
        if on_host.dtype in MISSING:
            name = str(on_host.dtype).removeprefix("torch.")
            raise TypeError(f"Cannot convert a MPS Tensor to {name} dtype as the MPS framework doesn't support {name}.")
        layout = {"strides": on_host.stride(), "storage_offset": on_host.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(
            cls, on_host.shape, **layout, dtype=on_host.dtype, device=torch.device("mps", 0)
        )
        made.on_host = on_host
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return dispatched(func, args, kwargs or {})

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func not in GUARDED:
            return torch._C._disabled_torch_function_impl(func, types, args, kwargs or {})
        if func is F.scaled_dot_product_attention:
            ASKED.add("aten::_scaled_dot_product_attention_math_for_mps")
            refuse_strangers(func, args)
        made = func(*tree_map(host, args), **tree_map(host, kwargs or {}))
        return args[0] if func is torch.Tensor.copy_ else OnApple(made) if isinstance(made, torch.Tensor) else made

    def __repr__(self):
        return f"OnApple({self.on_host})"


class AppleGpu(TorchDispatchMode):
    """Sees what is made on "mps" or moved there, which no OnApple tensor need have a part in."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return dispatched(func, args, kwargs or {})


class MadeOfNumbers(TorchFunctionMode):
    """Tensors made of Python's numbers or NumPy's, which no dispatched operation makes."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func is torch.Tensor.to:  # "mps" without a number asks the device for it
            return func(*tree_map(numbered, args), **tree_map(numbered, kwargs))
        if func not in (torch.tensor, torch.as_tensor) or device is None or torch.device(device).type != "mps":
            return func(*args, **kwargs)
        made = func(*args, **kwargs | {"device": None})
        return made if isinstance(made, OnApple) else OnApple(made)


def in_its_presence(run, thread) -> None:
    """What watches a thread is its own."""
    with MadeOfNumbers(), AppleGpu():
        run(thread)


def dispatched(func, args, kwargs):
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    on_apple = any(isinstance(t, OnApple) for t in given)
    if on_apple and func not in ACROSS:
        refuse_strangers(func, given)
    device = kwargs.get("device")
    to_apple = on_apple if device is None else torch.device(device).type == "mps"
    if to_apple:
        ASKED.add(func.name())
    if to_apple and device is not None:
        kwargs = kwargs | {"device": "cpu"}
    made = func(*tree_map(host, args), **tree_map(host, kwargs))
    if func._schema.name.endswith("_") and not func._schema.name.endswith("__"):
        return args[0]
    if "out" in kwargs:
        return kwargs["out"]
    return tree_map(lambda t: OnApple(t) if isinstance(t, torch.Tensor) else t, made) if to_apple else made


def refuse_strangers(func, given) -> None:
    if any(isinstance(t, torch.Tensor) and not isinstance(t, OnApple) and t.dim() for t in given):
        raise RuntimeError(f"{func}: Expected all tensors to be on the same device, but found mps:0 and cpu")


def numbered(value):
    apple = isinstance(value, str | torch.device) and torch.device(value).type == "mps"
    return torch.device("mps", 0) if apple else value


def host(value):
    return value.on_host if isinstance(value, OnApple) else value


class HostGenerator(torch.Generator):
    """One for any device; a build without Metal makes none for it."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu")


@contextmanager
def apple_gpu(monkeypatch):
    """A machine that has one, and no other GPU."""
    monkeypatch.setattr(torch, "Generator", HostGenerator)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.mps, name, lambda: None)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 16 << 30)
    run = threading.Thread.run
    monkeypatch.setattr(threading.Thread, "run", lambda thread: in_its_presence(run, thread))
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a parameter that moves is another object
    try:
        with MadeOfNumbers(), AppleGpu():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
