"""What the accelerations of `wan22` gain at full size: python3 tests/bench/bench_wan22_flags.py --out DIR [--tiny].

Two A14B experts with random weights made on the device (no files; 57 GB in bfloat16), one prompt, 832*480, 49 frames, 20
steps of the same loop that `wan22 t2v` drives: exact, then each acceleration. Random weights take the same time as trained
ones and make no picture, so this measures time and memory; quality is `wan22 compare`'s. Last line: JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from wan.accel.speed import Speed
from wan.config import T2V_A14B, WAN21_VAE
from wan.modules.attention import use_backend
from wan.modules.model import WanModel
from wan.modules.optimized_vae import OptimizedVAEDecoder
from wan.modules.streaming import StreamedDecoder
from wan.modules.vae import WanVAE
from wan22.config import Request
from wan22.pipeline import Conditions, StepDone, denoise, draw_noise, wait_for
from wan22.plan import plan, totals

HALF = {"enable_half_frame_generation": True}
CASES: dict[str, dict[str, Any]] = {
    "exact": {},
    "half": HALF,
    "half + improved": HALF | {"frame_completion": "improved"},
    "half + CFG (5, 3)": HALF | {"cfg_truncate_steps": 5, "cfg_truncate_high_noise_steps": 3},
}
PROMPT_TOKENS = 77


class Resident:
    """Both experts on the device."""

    def __init__(self, config: Any, device: torch.device, dtype: torch.dtype, speed: Speed):
        self.models = {name: random_model(speed.wan_class, config, device, dtype) for name in ("high", "low")}

    def get(self, expert: str) -> WanModel:
        return self.models[expert]


def random_model(cls: Any, config: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Made where it runs; the numbers are of a size that keeps activations finite."""
    with torch.device("meta"):
        model: nn.Module = cls(config)
    model = model.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.normal_(std=0.02)
        if "norm" in name or "gamma" in name:
            parameter.add_(1)
    return model


def random_decoder(config: Any, device: torch.device, speed: Speed) -> StreamedDecoder:
    """The reference decodes in float32 as upstream does; the fast one in float16 where there is a GPU."""
    fast = device.type == "cuda" and not speed.reference
    vae = random_model(WanVAE, config, device, torch.float16 if fast else torch.float32)
    return vae if speed.reference else OptimizedVAEDecoder(vae)


def main() -> None:
    arguments = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.manual_seed(0)
    attention = use_backend("auto", device)
    expert, vae_config = tiny_configs() if arguments.tiny else (T2V_A14B, WAN21_VAE)
    started = time.perf_counter()
    speed = Speed(reference=arguments.reference)
    experts = Resident(expert, device, dtype, speed)
    vae = random_decoder(vae_config, device, speed)
    print(
        f"two experts of {dtype} on {name_of(device)} in {time.perf_counter() - started:.1f} s, attention {attention}",
        flush=True,
    )
    base = Request(size=arguments.size, any_size=True, frame_num=arguments.frames, sample_steps=arguments.steps)
    conditions = random_conditions(expert.text_dim, device, dtype)
    warm_up(replace(base, **HALF), experts, conditions, vae)
    rows = []
    for name, changes in CASES.items():
        rows.append(measure(name, replace(base, **changes), experts, conditions, vae, rows))
        print(as_row(rows[-1]), flush=True)
    report = {
        "device": name_of(device),
        "torch": torch.__version__,
        "attention": attention,
        "models": "reference" if speed.reference else "optimized",
        "request": asdict(base),
        "cases": rows,
    }
    write(arguments.out, report)
    print(json.dumps(report))


def measure(
    name: str,
    request: Request,
    experts: Resident,
    conditions: Conditions,
    vae: StreamedDecoder,
    before: list[dict[str, Any]],
) -> dict[str, Any]:
    """One case, timed from noise to frames; `before` begins with the exact one."""
    device = conditions.context.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    done = run(request, experts, conditions)
    denoised = time.perf_counter()
    frames = decode(vae, done[-1].latents)
    wait_for(device)
    decoded = time.perf_counter()
    assert done[-1].latents.isfinite().all() and frames == request.frame_num, "a random model must still make a video"
    seconds, added = denoised - started, totals(request)
    return {
        "name": name,
        "denoise_seconds": seconds,
        "decode_seconds": decoded - denoised,
        "total_seconds": decoded - started,
        "speedup": (before[0]["denoise_seconds"] if before else seconds) / seconds,
        "speedup_with_decode": (before[0]["total_seconds"] if before else decoded - started) / (decoded - started),
        "arithmetic_says": 1 / added.relative_cost,
        "forwards": added.forwards,
        "forward_seconds": {str(n): s for n, s in forward_seconds(done).items()},
        "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
    }


def run(request: Request, experts: Resident, conditions: Conditions) -> list[StepDone]:
    noise = draw_noise((16, *request.resolved().latent_size), seed=0, device=conditions.context.device)
    return list(denoise(plan(request), experts, noise, conditions))


@torch.no_grad()
def decode(vae: StreamedDecoder, latents: Tensor) -> int:
    """Frames are brought to the host and dropped, as a writer would."""
    return sum(len(chunk.clamp(-1, 1).cpu()[0, 0]) for chunk in vae.decode_chunks(latents))


def forward_seconds(done: list[StepDone]) -> dict[int, float]:
    """Median of one forward by number of tokens, the solver's share included."""
    lengths = {d.step.seq_len for d in done}
    return {
        n: statistics.median(d.seconds / d.step.forwards for d in done if d.step.seq_len == n) for n in sorted(lengths)
    }


def warm_up(request: Request, experts: Resident, conditions: Conditions, vae: StreamedDecoder) -> None:
    """Both lengths once, and a little decoding: kernels are chosen and memory is mapped before anything is timed."""
    done = run(replace(request, sample_steps=3), experts, conditions)
    decode(vae, done[-1].latents[:, :, :2])


def random_conditions(text_dim: int, device: torch.device, dtype: torch.dtype) -> Conditions:
    context, context_null = torch.randn(2, PROMPT_TOKENS, text_dim, device=device, dtype=dtype).unbind()
    return Conditions(context, context_null)


def tiny_configs() -> tuple[Any, Any]:
    expert = replace(T2V_A14B, dim=48, ffn_dim=96, freq_dim=32, num_heads=2, num_layers=2, text_dim=32)
    return expert, replace(WAN21_VAE, dim=4, num_res_blocks=1)


def as_row(row: dict[str, Any]) -> str:
    peak = f"{row['peak_gib']:.1f} GiB" if row["peak_gib"] else ""
    forwards = ", ".join(f"{s:.3f} s at {n}" for n, s in row["forward_seconds"].items())
    return (
        f"| {row['name']} | {row['denoise_seconds']:.1f} s | {row['speedup']:.2f}x | {row['arithmetic_says']:.2f}x | {row['decode_seconds']:.1f} s"
        f" | {row['total_seconds']:.1f} s | {row['speedup_with_decode']:.2f}x | {row['forwards']} | {forwards} | {peak} |"
    )


HEADER = (
    "| case | denoising | against exact | arithmetic says | decoding | both | against exact | forwards | one forward, tokens | peak memory |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def write(folder: Path, report: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    request = report["request"]
    title = f"{report['device']}, torch {report['torch']}, {report['models']} models, attention {report['attention']}, {request['size']}, {request['frame_num']} frames, {request['sample_steps']} steps"
    table = "\n".join([title, "", HEADER, *map(as_row, report["cases"])])
    (folder / "wan22_flags.md").write_text(table + "\n")
    (folder / "wan22_flags.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{table}\n", flush=True)


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--frames", type=int, default=None, help="default 49, with --tiny 17")
    parser.add_argument("--size", default=None, help="default 832*480, with --tiny 96*64")
    parser.add_argument("--reference", action="store_true", help="the plain models instead of the fast ones")
    parser.add_argument("--tiny", action="store_true", help="small models, for a CPU")
    arguments = parser.parse_args()
    arguments.frames = arguments.frames or (17 if arguments.tiny else 49)
    arguments.size = arguments.size or ("96*64" if arguments.tiny else "832*480")
    return arguments


if __name__ == "__main__":
    main()
