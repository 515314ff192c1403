"""Tiny checkpoints on disk, in the layouts people have them in."""

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from wan.fast.expert import OptimizedWanModel
from wan.fast.offload import stream_from_file
from wan.files.checkpoint import load_wan
from wan.files.weights import Finish

Tensors = dict[str, torch.Tensor]


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """No two parameters alike, so that a mix-up of names shows."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval().requires_grad_(False)


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def write_config(folder: Path, config, **changes) -> None:
    values = {**(config if isinstance(config, dict) else asdict(config)), **changes}
    (folder / "config.json").write_text(json.dumps(values))


def save_expert(folder: Path, model) -> Path:
    write_config(folder, model.config)
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder / "expert.safetensors")
    return folder / "expert.safetensors"


def streamed(path: Path, finish: Finish):
    """An expert whose blocks come from its file when they are called, two of them at a time on the host."""
    cpu = torch.device("cpu")
    stream = partial(stream_from_file, finish=finish, device=cpu, slots=2)
    return load_wan(path, device=cpu, dtype=torch.float32, cls=OptimizedWanModel, finish=replace(finish, stream=stream))


def save_shards(folder: Path, tensors: Tensors, count: int, index: bool = True) -> Path:
    """Every count-th tensor to the same shard, named as the official ones are."""
    folder.mkdir(parents=True, exist_ok=True)
    weight_map = {}
    for i in range(count):
        file = f"diffusion_pytorch_model-{i + 1:05d}-of-{count:05d}.safetensors"
        names = sorted(tensors)[i::count]
        save_file({name: tensors[name].contiguous() for name in names}, folder / file)
        weight_map.update(dict.fromkeys(names, file))
    if index:
        path = folder / "diffusion_pytorch_model.safetensors.index.json"
        path.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))
    return folder


def assert_same(model: torch.nn.Module, wanted: Tensors) -> None:
    got = model.state_dict()
    assert got.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(got[name], tensor.to(got[name].dtype)), name
