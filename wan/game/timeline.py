"""Which latent frames and which video frames a block is.

The first latent frame is 1 video frame and every later one 4 (wan.latents), so the first block of 3 latent frames is 9
video frames and each later block 12. Everything that counts blocks asks this file. No torch: the command line reads it too.
"""

from __future__ import annotations

from dataclasses import dataclass

from wan.latents import video_frames


@dataclass(frozen=True)
class Span:
    """One block: its number, its latent frames and its video frames."""

    block: int
    latent: range
    frames: range


def span(block: int, per_block: int = 3) -> Span:
    latent = range(block * per_block, (block + 1) * per_block)
    return Span(block, latent, range(video_frames(latent.start), video_frames(latent.stop)))


def blocks_in(latent_frames: int, per_block: int = 3) -> int:
    """Whole blocks only: a part of a block cannot be generated."""
    if latent_frames < 1 or latent_frames % per_block:
        below, above = latent_frames // per_block * per_block, (max(latent_frames, 0) // per_block + 1) * per_block
        near = f"{below} or {above}" if below > 0 else f"{above}"
        raise ValueError(f"{latent_frames} latent frames are not whole blocks of {per_block}: use {near}")
    return latent_frames // per_block


def frame_map(latent_frames: int, per_block: int = 3) -> list[Span]:
    return [span(b, per_block) for b in range(blocks_in(latent_frames, per_block))]
