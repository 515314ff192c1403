"""What this machine has and what it can run, as plain data for `mg doctor`. Works without a GPU, and says so then."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgcli.app import system
from mgcli.app.version import package_version
from wan.device import GIB
from wan.video import ffmpeg as program
from wan.video.encoder import require_encoder

PACKAGES = (
    "torch",
    "triton",
    "flash-attn",
    "flash-attn-3",
    "fa3-fwd",
    "numpy",
    "safetensors",
    "huggingface_hub",
    "imageio-ffmpeg",
)


@dataclass(frozen=True)
class Need:
    what: str
    parameters: float  # on the GPU at the same time, counted from the models

    @property
    def gib(self) -> float:
        return self.parameters * 2 / GIB  # bf16


NEEDS = (
    Need("Matrix-Game 2.0 (model, CLIP, VAE)", 1.619e9 + 0.611e9 + 0.127e9),
    Need("Wan2.2 A14B, one expert at a time", 14.29e9),
    Need("Wan2.2 A14B, both experts resident", 2 * 14.29e9),
)


def versions() -> dict[str, str | None]:
    import torch

    found: dict[str, str | None] = {"mgcli": package_version("mgcli"), "python": platform.python_version()}
    found |= {package: package_version(package) for package in PACKAGES}
    return found | {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version() or "") or None}


def devices() -> list[dict[str, Any]]:
    """GPUs with their memory in GiB; empty on a machine that has none."""
    import torch

    if torch.backends.mps.is_available():
        gib = torch.mps.recommended_max_memory() / GIB
        return [{"name": "Apple GPU (mps)", "memory_gib": gib, "free_gib": gib}]
    return [_cuda_device(torch, index) for index in range(torch.cuda.device_count())]


def _cuda_device(torch: Any, index: int) -> dict[str, Any]:
    free, total = torch.cuda.mem_get_info(index)
    major, minor = torch.cuda.get_device_capability(index)
    capability = f"{major}.{minor}"
    name = torch.cuda.get_device_name(index)
    return {"name": name, "memory_gib": total / GIB, "free_gib": free / GIB, "capability": capability}


def host() -> dict[str, Any]:
    return {"system": platform.platform(), "cpus": os.cpu_count(), "memory_gib": system.host_memory() / GIB}


def ffmpeg() -> dict[str, str | None]:
    """The program that writes videos, and what is wrong with it: it is made to encode and asked its version."""
    path = version = problem = None
    try:
        path = program.program()
        require_encoder()
        version = program.version(path)
        if program.is_too_old(version):
            problem = f"{path} is ffmpeg {version}; the oldest known to work is {'.'.join(map(str, program.OLDEST))}"
    except (ValueError, RuntimeError) as error:
        problem = str(error).splitlines()[0]
    return {"path": path, "version": version, "problem": problem}


def disk(folder: Path) -> dict[str, Any]:
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    return {"folder": str(folder), "free_gib": shutil.disk_usage(existing).free / GIB}


def can_run(devices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each released model whether its bf16 weights fit one GPU; what they leave is for activations and decoding."""
    largest = max((d["memory_gib"] for d in devices), default=0.0)
    return [{"what": need.what, "weights_gib": need.gib, "fits": need.gib < largest} for need in NEEDS]
