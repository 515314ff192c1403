"""How much video a latent is: the strides of the Wan 2.1 VAE. Everything that counts frames or pixels asks this file.

The first latent frame is 1 video frame and every later one 4. No torch: the command line reads it too.
"""

from __future__ import annotations

SPATIAL_STRIDE = 8  # pixels of a latent, across and down
TEMPORAL_STRIDE = 4  # video frames of every latent frame after the first


def video_frames(latent_frames: int) -> int:
    return 1 + TEMPORAL_STRIDE * (latent_frames - 1) if latent_frames else 0


def latent_frames_for(frames: int) -> int:
    """The fewest latent frames that decode to at least this many video frames."""
    return -(-(frames - 1) // TEMPORAL_STRIDE) + 1
