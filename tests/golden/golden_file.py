"""One golden file: inputs, weights and outputs of the official code, with what it is in the metadata."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open


class GoldenFile:
    def __init__(self, path: Path):
        self.path = path
        with safe_open(path, "pt") as f:
            self.meta: dict[str, str] = f.metadata()
            self._tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118  a file is no dictionary

    @property
    def kind(self) -> str:
        return self.meta["kind"]

    @property
    def config(self) -> dict:
        return json.loads(self.meta["config"])

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def names(self, prefix: str) -> list[str]:
        return [k for k in self._tensors if k.startswith(prefix)]

    def weights(self, prefix: str = "weights/") -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix): v for k, v in self._tensors.items() if k.startswith(prefix)}


def assert_close(name: str, got: torch.Tensor, want: torch.Tensor, tolerance: float) -> None:
    """Largest difference relative to the largest magnitude of the official output."""
    assert got.shape == want.shape, f"{name}: shape {tuple(got.shape)}, official {tuple(want.shape)}"
    error = (got.double() - want.double()).abs().max().item() / want.double().abs().max().item()
    print(f"{name}: relative error {error:.1e} (allowed {tolerance:.0e})")
    assert error <= tolerance, f"{name}: relative error {error:.2e} above {tolerance:.0e}"
