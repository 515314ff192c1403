"""Peak host memory of loading a sharded expert: python -m tests.bench.load_memory [--gb 2.2].

Writes an expert of random float32 numbers in the official layout (shards and index), loads it as bfloat16 in a process
of its own and compares the peak to the size of the loaded model. Two peaks: what the process allocated (RssAnon), and
everything resident in it (VmHWM), which would also count pages of mapped files. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from wan.config import T2V_A14B, WanConfig
from wan.modules.model import WanModel

SHARD_BYTES = 1 << 30


def write_expert(folder: Path, gigabytes: float) -> WanConfig:
    """An expert of about this size in bfloat16; twice that on disk."""
    config = replace(T2V_A14B, dim=2048, ffn_dim=8192, num_heads=16, num_layers=1)
    with torch.device("meta"):
        one, two = (WanModel(replace(config, num_layers=n)) for n in (1, 2))
    one_size, two_size = (sum(p.numel() for p in m.parameters()) for m in (one, two))
    config = replace(config, num_layers=max(1, round((gigabytes * 5e8 - one_size) / (two_size - one_size)) + 1))
    with torch.device("meta"):
        shapes = {name: t.shape for name, t in WanModel(config).state_dict().items()}
    folder.joinpath("config.json").write_text(json.dumps(asdict(config)))
    write_shards(folder, shapes)
    return config


def write_shards(folder: Path, shapes: dict[str, torch.Size]) -> None:
    shards: list[list[str]] = [[]]
    filled = 0
    for name, shape in shapes.items():
        if filled > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += 4 * shape.numel()
    weight_map = {}
    for i, names in enumerate(shards, 1):
        file = f"diffusion_pytorch_model-{i:05d}-of-{len(shards):05d}.safetensors"
        save_file({name: torch.empty(shapes[name]).uniform_(-1, 1) for name in names}, folder / file)
        weight_map.update(dict.fromkeys(names, file))
    index = {"metadata": {}, "weight_map": weight_map}
    folder.joinpath("diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


def resident(field: str) -> int:
    """Bytes, from a line such as `RssAnon:     1234 kB`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def measure(folder: Path) -> dict[str, float]:
    """Load and report; run in a process of its own, so that its peaks are those of loading alone."""
    from wan.files.checkpoint import load_wan

    before = resident("RssAnon"), resident("VmRSS")
    peak = 0
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, resident("RssAnon"))

    watcher = threading.Thread(target=sample)
    watcher.start()
    started = time.perf_counter()
    model = load_wan(folder, device="cpu", dtype=torch.bfloat16)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    return {
        "model_bytes": size,
        "largest_tensor_bytes_on_disk": max(4 * p.numel() for p in model.parameters()),
        "seconds": round(seconds, 2),
        "peak_allocated_over_model": round((peak - before[0]) / size, 3),
        "peak_resident_over_model": round((resident("VmHWM") - before[1]) / size, 3),
    }


def run(gigabytes: float, root: Path | None = None) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=root) as folder:
        write_expert(Path(folder), gigabytes)
        command = [sys.executable, "-m", "tests.bench.load_memory", "--measure", folder]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.2, help="size of the loaded model; the files are twice that")
    parser.add_argument("--measure", type=Path, help="a folder to load in this process")
    given = parser.parse_args()
    print(json.dumps(measure(given.measure) if given.measure else run(given.gb)))
