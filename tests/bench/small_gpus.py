"""What runs on which card, measured: python -m tests.bench.small_gpus FOLDER --out RESULTS.

A14B at released size, random weights, in a folder that should be memory (/dev/shm): official bfloat16, fp8 as ComfyUI has it,
Q4_K. Each row is the command itself in a process of its own, with the device memory capped and the host's memory watched.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import resource
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.bench.make_random_release import RandomWeights, on_meta, write_vae
from tests.tiny_checkpoints import write_tokenizer
from wan.config import T2V_A14B, UMT5_XXL, WanConfig
from wan.files.converting import NAMES
from wan.files.packed import FORMATS
from wan.files.weights import open_weights
from wan.modules.model import WanModel
from wan.modules.t5 import T5Encoder

OWN = "head.modulation"  # what tells one expert from the other
VIDEO = ["--size", "832*480", "--frame_num", "49", "--sample_steps", "8", "--base_seed", "0", "--overwrite"]
Q4_K = 12  # GGUF's number of it


def held(name: str) -> bool:
    return name.startswith("blocks.") and name.endswith(".weight") and "norm" not in name


def shapes(model: type, config: object) -> dict[str, torch.Size]:
    return {name: t.shape for name, t in on_meta(model, config).state_dict().items()}


class Numbers:
    """Random ones, drawn where that is fast."""

    def __init__(self) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def plain(self, shape: torch.Size, name: str) -> Tensor:
        if len(shape) == 1:
            return (torch.ones if name.endswith("weight") else torch.zeros)(shape)
        drawn = torch.randn(shape, device=self.device, dtype=torch.bfloat16)
        return drawn.mul_(1 / math.sqrt(math.prod(shape[1:]))).cpu()

    def fp8(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        drawn = torch.randn(shape, device=self.device, dtype=torch.bfloat16).mul_(64)
        return drawn.to(torch.float8_e4m3fn).cpu(), torch.tensor(1 / 64 / math.sqrt(shape[1]))

    def q4_k(self, shape: torch.Size) -> Tensor:
        format = FORMATS["Q4_K"]
        blocks = torch.randint(0, 256, (shape.numel() // 256, format.size), dtype=torch.uint8, device=self.device)
        scale = 1 / math.sqrt(shape[1]) / 240
        for place, factor in ((0, scale), (2, 7 * scale)):
            half = torch.full((len(blocks), 1), factor, dtype=torch.float16, device=self.device)
            blocks[:, place : place + 2] = half.view(torch.uint8)
        return blocks.view(shape[0], -1).cpu()


def write_safetensors(
    path: Path, tensors: dict[str, Callable[[], Tensor]], kinds: dict[str, tuple[str, list[int], int]]
) -> None:
    """One tensor at a time in memory."""
    header, end = {}, 0
    for name, (dtype, shape, size) in kinds.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for make in tensors.values():
            file.write(make().contiguous().view(-1).view(torch.uint8).numpy().data)


def kind(dtype: torch.dtype, shape: torch.Size) -> tuple[str, list[int], int]:
    return NAMES[dtype], list(shape), shape.numel() * dtype.itemsize


def write_bf16(path: Path, numbers: Numbers, model: type, config: object, prefix: str = "") -> None:
    known = {name: shape for name, shape in shapes(model, config).items() if name != OWN}
    kinds = {prefix + n: kind(torch.bfloat16, s) for n, s in known.items()}
    makers = {prefix + n: lambda n=n, s=s: numbers.plain(s, n).bfloat16() for n, s in known.items()}
    write_safetensors(path, makers, kinds)


def write_fp8(path: Path, numbers: Numbers) -> None:
    makers: dict[str, Callable[[], Tensor]] = {}
    kinds = {}
    for name, shape in shapes(WanModel, T2V_A14B).items():
        if name == OWN:
            continue
        if not held(name):
            kinds[name], makers[name] = (
                kind(torch.bfloat16, shape),
                lambda n=name, s=shape: numbers.plain(s, n).bfloat16(),
            )
            continue
        scale = name.removesuffix("weight") + "weight_scale"
        kinds[name], makers[name] = kind(torch.float8_e4m3fn, shape), lambda s=shape: numbers.fp8(s)[0]
        kinds[scale], makers[scale] = ("F32", [], 4), lambda s=shape: torch.tensor(1 / 64 / math.sqrt(s[1]))
    write_safetensors(path, makers, kinds)


def write_q4(path: Path, numbers: Numbers, config: WanConfig = T2V_A14B) -> None:
    """A GGUF: header, and tensors at multiples of 32 bytes."""

    def text(words: str) -> bytes:
        return struct.pack("<Q", len(words)) + words.encode()

    entries, makers, end = [], [], 0
    for name, shape in shapes(WanModel, config).items():
        packed = held(name) and shape[1] % 256 == 0
        size = FORMATS["Q4_K"].bytes_of(shape.numel()) if packed else shape.numel() * 4
        entries.append(
            text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), Q4_K if packed else 0, end)
        )
        makers.append(
            (lambda s=shape: numbers.q4_k(s)) if packed else (lambda n=name, s=shape: numbers.plain(s, n).float())
        )
        end += -(-size // 32) * 32
    header = (
        b"GGUF"
        + struct.pack("<IQQ", 3, len(entries), 1)
        + text("general.architecture")
        + struct.pack("<I", 8)
        + text("wan")
    )
    header += b"".join(entries)
    with path.open("wb") as file:
        file.write(header + bytes(-len(header) % 32))
        for make in makers:
            raw = make().contiguous().view(-1).view(torch.uint8).numpy()
            file.write(raw.data)
            file.write(bytes(-len(raw) % 32))


def write_release(folder: Path) -> None:
    numbers = Numbers()
    folder.mkdir(parents=True)
    write_tokenizer(folder / "google" / "umt5-xxl" / "tokenizer.json")
    write_vae(folder, RandomWeights(3))
    write_bf16(folder / "models_t5_umt5-xxl-enc-bf16.safetensors", numbers, T5Encoder, UMT5_XXL)


def experts(folder: Path, stored: str) -> list[str]:
    """Writes two experts that share all they can, and says by which flags they are named."""
    torch.manual_seed(0)
    places = [folder / f"{noise}_noise_{stored}" for noise in ("high", "low")]
    if stored == "Q4_K":
        places = [place.with_suffix(".gguf") for place in places]
        write_q4(places[0], Numbers())
        twin(*places)
    else:
        write_shared(places, stored)
    return ["--high_noise", str(places[0]), "--low_noise", str(places[1])]


def write_shared(places: list[Path], stored: str) -> None:
    for place in places:
        place.mkdir()
        save_file({OWN: torch.randn(1, 2, T2V_A14B.dim).bfloat16() / 70}, place / "own.safetensors")
    shared = places[0] / "shared.safetensors"
    write_fp8(shared, Numbers()) if stored == "fp8" else write_bf16(shared, Numbers(), WanModel, T2V_A14B)
    os.link(shared, places[1] / shared.name)


def twin(path: Path, other: Path) -> None:
    """The same file with another `head.modulation`: the two would be taken for one expert twice."""
    stored = open_weights(path).parts[OWN][0]
    subprocess.run(["cp", str(path), str(other)], check=True)
    with other.open("r+b") as file:
        file.seek(stored.offset)  # type: ignore[attr-defined]
        file.write(torch.randn(2 * T2V_A14B.dim).div(70).view(torch.uint8).numpy().tobytes())


@dataclass(frozen=True)
class Row:
    stored: str
    cap: int | None  # GiB of the device
    flags: tuple[str, ...] = ()


ROWS = (
    Row("bf16", None, ("--sample_steps", "2")),  # compiles kernels, chooses attention
    Row("bf16", None),
    Row("bf16", 24),
    Row("bf16", 12, ("--residency", "disk")),
    Row("bf16", 8, ("--residency", "disk")),
    Row("bf16", 24, ("--fp8",)),
    Row("fp8", None),
    Row("fp8", 24),
    Row("fp8", 12),
    Row("fp8", 8),
    Row("fp8", 8, ("--residency", "disk")),
    Row("Q4_K", None),
    Row("Q4_K", 12),
    Row("Q4_K", 8),
    Row("Q4_K", 8, ("--residency", "disk")),
)


def one(arguments: list[str]) -> None:
    """The command in this process, and what it took."""
    from mgcli.app.errors import run
    from mgcli.wan22_app import app

    started, out = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(app, [*arguments, "--json"])
    report = json.loads(out.getvalue().splitlines()[-1])
    took = {
        "code": code,
        "seconds": round(time.perf_counter() - started, 1),
        "host_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),
        "reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2) if torch.cuda.is_available() else None,
    }
    print(json.dumps({**took, "report": report}))


def measure(row: Row, folder: Path, named: list[str], out: Path) -> dict:
    cap = [] if row.cap is None else ["--memory", str(row.cap)]
    video = ["--prompt", "a cat", "--ckpt_dir", str(folder), "--save_file", str(out / "v.mp4"), *VIDEO]
    command = [sys.executable, "-m", "tests.bench.small_gpus", "--one", "t2v", *video, *named, *cap, *row.flags]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        took = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        took = {"code": done.returncode, "report": {"error": done.stderr[-600:]}}
    return {"stored": row.stored, "cap": row.cap, "flags": list(row.flags), **took}


def line(row: dict) -> str:
    name = f"{row['stored']:5} {row['cap'] or 'all':>4} {' '.join(row['flags']):18}"
    videos = row["report"].get("videos")
    if not videos:
        return f"{name} {str(row['report'].get('error'))[:300]}"
    v = videos[0]
    s = {k: round(x, 1) for k, x in v["seconds"].items()}
    return f"{name} {v['residency']:6} {row['seconds']:6.1f} s  device {v['peak_gib']:.2f} ({row['reserved_gib']}) host {row['host_gib']}  {s}"


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=["bf16", "fp8", "Q4_K"])
    parser.add_argument("--rows", nargs="*", type=int, default=range(len(ROWS)), help="their numbers")
    given = parser.parse_args()
    started, rows = time.perf_counter(), []
    if not given.folder.exists():
        write_release(given.folder)
    print(f"release written, {time.perf_counter() - started:.0f} s", flush=True)
    for stored in given.only:
        named = experts(given.folder, stored)
        print(f"{stored} written, {time.perf_counter() - started:.0f} s", flush=True)
        for row in (ROWS[i] for i in given.rows if ROWS[i].stored == stored):
            rows.append(measure(row, given.folder, named, given.out))
            print(line(rows[-1]), f" [{time.perf_counter() - started:.0f} s]", flush=True)
            (given.out / f"small_gpus_{'_'.join(given.only)}.json").write_text(json.dumps(rows, indent=1))
        for path in map(Path, named[1::2]):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
