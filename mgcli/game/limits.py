"""Where the numbers of a game request end: beyond them nothing is computed, no number is one any more, or no machine has room.

Said before anything is loaded, with the nearest that fits. What this machine has room for is another question, asked where the
device is known (mgcli.game.room). No torch.
"""

from __future__ import annotations

import math
from typing import Any

from wan.latents import SPATIAL_STRIDE
from wan.refusal import Refusal
from wan.schema import within

SIDES = 2 * SPATIAL_STRIDE  # of the VAE's pixels and of the model's patch
LONGEST_SIDE = 16384  # what H.264 has room for
MOST_LATENT_FRAMES = 999_999  # of one video, 44 hours; a stream may be endless
MOST_WORLDS = 64  # at once: each has two encoders
MOST_TOKENS = 2**20  # that all worlds together look back on: 190 GiB of a released model's keys and values
USUAL_WINDOW, GLOBAL_WINDOW = 6, 15  # latent frames: of the released models, and what -1 says in the official code
LIMITS: dict[str, tuple[float, float, Any]] = {  # least, most, usual
    "height": (SIDES, LONGEST_SIDE, 352),
    "width": (SIDES, LONGEST_SIDE, 640),
    "seed": (-(2**63), 2**63 - 1, 0),
    "action_seed": (-(2**63), 2**63 - 1, 0),
    "fps": (1, 240, 25),  # what wan.video.writer takes
    "local_attn_size": (-1, 1024, USUAL_WINDOW),
    "batch": (1, MOST_WORLDS, 1),
}
LENGTHS = {"num_output_frames": 150, "max_num_output_frames": 360}  # in latent frames, with the usual one
TEXTS = ("checkpoint_path", "script", "device", "attention")
ENDLESS = ("max_num_output_frames",)  # where it is 0


def check(request: Any) -> None:
    for name in TEXTS:
        if getattr(request, name, None) == "":  # of a variable of the shell that is not set
            raise ValueError(f"--{name} is empty: leave it out, or say which")
    request.sampling()  # which holds its own numbers to limits
    for name, limits in LIMITS.items():
        if (value := getattr(request, name, None)) is not None:
            within(name, value, *limits)
    for name, usual in LENGTHS.items():
        value = getattr(request, name, None)
        if value is not None and (value or name not in ENDLESS):
            within(name, value, request.num_frame_per_block, MOST_LATENT_FRAMES, usual)
    for name in ("height", "width"):
        check_side(name, getattr(request, name))
    check_window(request.local_attn_size, request.num_frame_per_block)
    check_worlds(request, 1)


def check_side(name: str, given: int) -> None:
    if given % SIDES:
        below = given // SIDES * SIDES
        raise ValueError(f"{name} {given} is no multiple of {SIDES}: use {below} or {below + SIDES}")


def check_window(window: int | None, block: int) -> None:
    if window is not None and window != -1 and window < block:
        raise ValueError(f"local_attn_size {window} does not hold a block of {block} latent frames; nearest is {block}")


def check_worlds(request: Any, worlds: int) -> None:
    """Memory of the GPUs that there are, whichever this machine has."""
    if worlds > MOST_WORLDS:
        raise Refusal(f"{worlds} worlds at once are more than the {MOST_WORLDS} that can be recorded", "batch")
    given = request.local_attn_size
    window = max(GLOBAL_WINDOW if given == -1 else given or USUAL_WINDOW, request.num_frame_per_block)
    rows, columns = request.height // SIDES, request.width // SIDES
    room = MOST_TOKENS // (rows * columns)  # latent frames of all worlds
    if worlds * window <= room:
        return
    if room >= window:
        near, setting = f"at most {room // window} worlds fit at this size", "batch"
    elif room >= max(request.num_frame_per_block, USUAL_WINDOW):
        near, setting = f"nearest is local_attn_size {room}", "local_attn_size"
    else:
        near, setting = f"nearest is {smaller(rows, columns, MOST_TOKENS // USUAL_WINDOW)}", "height"
    raise Refusal(
        f"{request.height}x{request.width}, {worlds} at once with {window} latent frames in view, is"
        f" {worlds * window * rows * columns:,} tokens, more than the {MOST_TOKENS:,} that any GPU has room for; {near}",
        setting,
    )


def smaller(rows: int, columns: int, most: int) -> str:
    """The same shape with at most so many tokens, as HEIGHTxWIDTH."""
    share = min(math.sqrt(most / (rows * columns)), 1.0)
    height, width = (max(int(side * share), 1) * SIDES for side in (rows, columns))
    return f"{height}x{width}"
