"""Half frames: the high-noise expert works on half of the latent frames, which are completed before the other expert starts.

Frame i of the full video comes from frame i // 2 of the half one: F1 F1 F2 F2 ... Three completions, because repeating a noisy
frame repeats its noise and a multistep solver remembers frames too:
  repeat    repeats the latents and restarts the solver (its next step is first order)
  improved  repeats the latents and the solver's memory, which goes on as if it had always had all frames
  renoise   interpolates the estimate of the clean video and gives the inserted frames their own noise at the same level

How near the result is to the video of all frames depends more on the noise that half frames start from: see `start`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from wan.schedule import renoise

if TYPE_CHECKING:  # a plan is printed without torch
    from torch import Tensor

    from wan.solvers import History

Method = Literal["repeat", "improved", "renoise"]
Rope = Literal["native", "stretch"]
Start = Literal["alternate", "pairs"]


def half(full: int) -> int:
    return (full + 1) // 2


def half_positions(full: int, rope: Rope) -> tuple[int, ...]:
    """Where the half video's frames are in time: side by side (native, motion at half speed), or every other (stretch)."""
    return tuple(range(half(full))) if rope == "native" else tuple(range(0, full, 2))


def sources(full: int) -> list[int]:
    """The half frame that each frame of the full video repeats."""
    return [i // 2 for i in range(full)]


def repeat(latents: Tensor, full: int) -> Tensor:
    """(B, C, half, H, W) -> (B, C, full, H, W), contiguous; gradients add up over the copies."""
    check_half(latents, full)
    return latents[:, :, sources(full)].contiguous()


def interpolate(latents: Tensor, full: int) -> Tensor:
    """As `repeat`, but an inserted frame is the mean of its neighbours (the last one has only one)."""
    after = [min((i + 1) // 2, half(full) - 1) for i in range(full)]
    return (repeat(latents, full) + latents[:, :, after]) / 2


def check_half(latents: Tensor, full: int) -> None:
    if latents.dim() != 5 or latents.shape[2] != half(full):
        raise ValueError(
            f"completing to {full} latent frames needs (B, C, {half(full)}, H, W), got {tuple(latents.shape)}"
        )


def complete(
    method: Method, latents: Tensor, history: History, noise: Tensor, sigma: float, last_sigma: float
) -> Tensor:
    """The latents of all frames; `history` is completed, or restarted, with them.

    `noise` is that of all frames, of which the half video had its own (`start`); `sigma` is the noise level of `latents`
    and `last_sigma` that of the history's last sample.
    """
    full = noise.shape[2]
    if method == "repeat":
        history.restart()
        return repeat(latents, full)
    if method == "improved":
        history.map(lambda tensor: repeat(tensor, full))
        return repeat(latents, full)
    assert history.last_sample is not None, "the high-noise expert has made a step"
    history.x0s = [interpolate(x0, full) for x0 in history.x0s]
    history.last_sample = insert(history.last_sample, renoise(history.x0s[0], noise, last_sigma))
    return insert(latents, renoise(history.x0s[0], noise, sigma))


def insert(latents: Tensor, inserted: Tensor) -> Tensor:
    """The frames of the half video where they belong, between them those of `inserted` (B, C, full, H, W)."""
    completed = repeat(latents, inserted.shape[2])
    completed[:, :, 1::2] = inserted[:, :, 1::2]
    return completed


def start(noise: Tensor, count: int, kind: Start = "alternate") -> Tensor:
    """The noise a run starts with: of all frames, or for half frames of frames 0, 2, 4, ..., so that both start alike.

    With "pairs" a half frame from the second on also has the noise of the frame before it, their sum at unit variance. What is
    slow in the noise decides where things are; half of the frames hold half of it, all pairs hold all of it.
    """
    if count == noise.shape[2]:
        return noise
    half_noise = noise[:, :, ::2].clone()
    if kind == "pairs":
        half_noise[:, :, 1:] = (noise[:, :, 1::2][:, :, : count - 1] + noise[:, :, 2::2]) / 2**0.5
    return half_noise
