"""Experts from the files that people have: packed ones, and those that `convert` writes."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.bench.make_random_release import write_config
from tests.bench.small_gpus import Numbers, write_q4
from tests.gpu.leg import Setting, leg
from tests.gpu.programs import command
from tests.gpu.videos import everywhere, released, same
from tests.gpu.ways import need_fp8
from wan.files.checkpoint import load_wan, wan_config

NOISES = ("high_noise", "low_noise")


def named(folder: Path, suffix: str) -> list[str]:
    return [word for noise in NOISES for word in (f"--{noise}", str(folder / f"{noise}{suffix}"))]


@leg(60, "release_t2v")
def t2v_gguf(setting: Setting) -> str:
    """Experts packed as Q4_K: the same wherever they live, and that of their numbers unpacked into bfloat16, bit for bit."""
    folder = setting.own("t2v_gguf")
    config = wan_config(setting.wan22("t2v-A14B") / "high_noise_model")
    write_config(folder, config)
    for seed, noise in enumerate(NOISES):
        torch.manual_seed(seed)
        write_q4(folder / f"{noise}.gguf", Numbers(), config)
        wide = load_wan(folder / f"{noise}.gguf", device="cpu", dtype=torch.bfloat16)
        save_file(wide.state_dict(), folder / f"{noise}.safetensors")
    packed = everywhere(setting, "gguf", *named(folder, ".gguf"))
    same(packed, released(setting, "gguf_unpacked", *named(folder, ".safetensors")), "unpacked")
    return f"{(folder / 'high_noise.gguf').stat().st_size / 2**20:.0f} MiB an expert"


@leg(60, "release_t2v")
def t2v_converted(setting: Setting) -> str:
    """Experts that `wan22 convert` wrote make the video of --fp8, bit for bit, wherever they live."""
    need_fp8(setting)
    folder = setting.own("t2v_converted")
    for noise in NOISES:
        model = setting.wan22("t2v-A14B") / f"{noise}_model"
        command("wan22", "convert", model, "--output", folder / f"{noise}.safetensors")
    video = everywhere(setting, "converted", *named(folder, ".safetensors"))
    same(video, released(setting, "converted_fp8", "--fp8"), "--fp8")
    return f"{(folder / 'high_noise.safetensors').stat().st_size / 2**20:.0f} MiB an expert"
