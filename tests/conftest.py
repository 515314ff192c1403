"""Tests that need a GPU skip themselves where there is none; there, Triton kernels run in its interpreter."""

import os
import shutil

import pytest

if shutil.which("nvidia-smi") is None:  # Triton reads this once, when something first imports it
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needs = [(item, 2 if item.get_closest_marker("multi_gpu") else 1) for item in items if _wants_gpu(item)]
    if not needs:
        return
    import torch

    count = torch.cuda.device_count()
    for item, needed in needs:
        if count < needed:
            item.add_marker(pytest.mark.skip(reason=f"needs {needed} CUDA device(s), this machine has {count}"))


def _wants_gpu(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("gpu", "multi_gpu"))
