"""Every way in which a video is made, each against itself and against what it must be equal or close to."""

from __future__ import annotations

import torch

from tests.gpu.doors import at_least, decibels, free, relative, same_tensor
from tests.gpu.leg import Failed, Setting, leg
from tests.gpu.programs import command
from tests.gpu.videos import Video, everywhere, made, released, same
from tests.gpu.ways import need_fp8
from wan.video.reader import count_frames

PROMPT = "Two small red stars drift slowly to the left on a dark background."


@leg(60, "release_t2v")
def t2v_recommended(setting: Setting) -> str:
    """--accel recommended: the same wherever the experts live, bit for bit."""
    video = everywhere(setting, "recommended", "--accel", "recommended", steps=8)
    return f"{video.facts['totals']['forwards']} forwards"


@leg(60, "release_t2v")
def t2v_fp8(setting: Setting) -> str:
    """--fp8: the same wherever the experts live, bit for bit; near the exact video, and not it."""
    need_fp8(setting)
    video = everywhere(setting, "fp8", "--fp8")
    if not 1e-4 < (apart := relative(video.latents, released(setting, "exact").latents)) < 0.5:
        raise Failed(f"fp8 is {apart:.2%} from exact")
    return f"{apart:.1%} from exact"


@leg(60, "release_t2v")
def t2v_reference(setting: Setting) -> str:
    """--reference: in float32 the fast models make the reference's latents but for rounding, and in bf16 the reference makes
    the same video twice, bit for bit."""
    torch.backends.cudnn.allow_tf32 = False  # the patch embedding is a convolution
    fast = released(setting, "fast_32", "--dtype", "float32")
    reference = released(setting, "reference_32", "--dtype", "float32", "--reference")
    if (apart := relative(fast.latents, reference.latents)) > 1e-3:
        raise Failed(f"fast and reference in float32 are {apart:.1e} apart")
    # of random weights: noise, which leaves an encoder least to spare, read back from two lossy files
    at_least(shown := decibels(fast.frames, reference.frames), 30, "pictures of the fast decoder")
    same(released(setting, "reference_1", "--reference"), released(setting, "reference_2", "--reference"), "reference")
    return f"float32: latents {apart:.1e} apart, pictures {shown:.0f} dB"


@leg(60)
def t2v_compile(setting: Setting) -> str:
    """--compile, on the mini: the same video twice, bit for bit, and in float32 the reference's but for rounding."""
    flags = ("--dtype", "float32")
    compiled = clip(setting, "compiled_32", "--compile", *flags)
    same(clip(setting, "compiled_again", "--compile", *flags), compiled, "compiled, again")
    at_least(
        shown := decibels(compiled.frames, clip(setting, "reference_32", "--reference", *flags).frames), 40, "pictures"
    )
    return f"{shown:.0f} dB from the reference"


@leg(40)
def t2v_strips(setting: Setting) -> str:
    """--vae_tiling, on the mini: the same latents, and the same pictures but for rounding, read back from two lossy files."""
    size = ("--size", "320*288", "--any_size")
    whole = clip(setting, "whole", *size, steps=8)
    strips = clip(setting, "strips", *size, "--vae_tiling", steps=8)
    same_tensor(strips.latents, whole.latents, "latents", frames=2)
    at_least(apart := decibels(strips.frames, whole.frames), 40, "pictures by strips")
    return f"{apart:.0f} dB from whole frames"


@leg(40)
def t2v_compare(setting: Setting) -> str:
    """wan22 compare, on the mini: the report has plausible numbers, and every video it names can be read."""
    folder = setting.own("t2v_compare")
    flags = ("--prompt", PROMPT, "--base_seed", 0, *setting.clip())
    report = command("wan22", "compare", "--comparison_mode", "all_vs_baseline", "--output_dir", folder, *flags)
    baseline, accelerated = report["results"]
    if not 10 < accelerated["psnr"] < 60:
        raise Failed(f"{accelerated['name']} is {accelerated['psnr']} dB from {baseline['name']}")
    frames = report["requests"]["baseline"]["frame_num"]
    for name in ("baseline", "all", "side_by_side"):
        if (counted := count_frames(folder / f"{name}.mp4")) != frames:
            raise Failed(f"{name}.mp4 has {counted} frames, not {frames}")
    return f"{accelerated['psnr']:.1f} dB at {accelerated['speedup']:.2f}x"


def clip(setting: Setting, name: str, *flags: object, steps: int = 20) -> Video:
    """A clip of the embedded mini."""
    asked = ("--prompt", PROMPT, "--base_seed", 0, *setting.clip(steps), *flags)
    [video] = made("t2v", setting.own("clips") / f"{name}.mp4", *asked)
    free()
    return video
