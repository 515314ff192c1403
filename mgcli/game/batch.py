"""The worlds of one `mg generate`: for each its image, its actions, its seeds and its file.

One of anything serves all worlds; several images or scripts make as many worlds. Seeds count up from the given ones,
so world 2 of a batch is what its seeds would give alone. No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mgcli.app.outputs import Outputs
from mgcli.app.recording import beside, recorded
from mgcli.game.limits import check_worlds
from mgcli.game.request import RANDOM, GenerateRequest
from wan.game.actions import ActionScript, script_of, text, walk
from wan.game.modes import MODES, Mode
from wan.game.scripts import load_script
from wan.latents import latent_frames_for, video_frames

DEFAULT_LATENT_FRAMES = 150  # the official length
# What is shown without a checkpoint when nobody says what to do: 141 frames, 12 blocks. The mini world's walks into the
# garden of the default image, looks both ways, goes on and turns before a wall.
TOURS = {
    "universal": "W*21 L*12 J*24 L*12 W*12 WL*18 L*30 W*12",
    "gta_drive": "W*33 WD*24 W*24 WA*36 W*12 S*12",
    "templerun": "Q*21 W*12 Q*12 Z*12 Q*24 S*12 Q*12 D*12 A*12 Q*12",
}


@dataclass(frozen=True)
class WorldPlan:
    image: Path
    script: ActionScript
    seed: int
    action_seed: int
    output: Path

    def origin(self) -> dict[str, Any]:
        """What a record says of one world of several."""
        return {"seed": self.seed, "action_seed": self.action_seed, "image": str(self.image)}


def plan_worlds(request: GenerateRequest) -> tuple[GenerateRequest, list[WorldPlan]]:
    """The worlds, and the request with its length filled in."""
    count = request.batch or max(1, len(request.image), len(request.actions))
    check_worlds(request, count)
    images = spread("image", request.image or (request.default_image,), count)
    actions = spread("actions", request.actions or (default_actions(request),), count)
    mode = MODES[request.mode]
    written = [None if given == RANDOM else load_script(given, mode) for given in actions]
    latent_frames = request.num_output_frames or _length(written, request.num_frame_per_block)
    request = replace(request, num_output_frames=latent_frames)
    frames = video_frames(latent_frames)
    scripts = [s or random_script(mode, request.action_seed + i, frames) for i, s in enumerate(written)]
    outputs = outputs_of(request.output, count)
    seeds = [(request.seed + i, request.action_seed + i) for i in range(count)]
    worlds = [WorldPlan(image, script, *s, out) for image, script, s, out in zip(images, scripts, seeds, outputs)]
    return request, worlds


def outputs_of(base: Path, count: int) -> list[Path]:
    return [base if count == 1 else beside(base, f"_{i}") for i in range(count)]


def trace_of(base: Path) -> Path:
    return beside(base, "_trace", ".json")


def place_worlds(
    outputs: Outputs, request: GenerateRequest, plans: list[WorldPlan]
) -> tuple[GenerateRequest, list[WorldPlan]]:
    """The same with the place that `outputs` gives them."""

    def files(base: Path) -> dict[str, Path]:
        worlds = outputs_of(base, len(plans))
        named = {
            f"{what} {i}" if i else what: at for i, path in enumerate(worlds) for what, at in recorded(path).items()
        }
        return named | ({"trace": trace_of(base)} if request.enable_profile else {})

    base = outputs.place("--output", request.output, files, chosen=request.output != GenerateRequest.output)
    placed = [replace(plan, output=path) for plan, path in zip(plans, outputs_of(base, len(plans)))]
    return replace(request, output=base), placed


def default_actions(request: GenerateRequest) -> str:
    return RANDOM if request.checkpoint_path else TOURS[request.mode]


def spread(name: str, given: Sequence, count: int) -> list:
    """One for each world."""
    if len(given) not in (1, count):
        raise ValueError(f"{len(given)} x --{name} for {count} worlds: give 1 or {count}")
    return list(given) * (count // len(given))


def _length(scripts: list[ActionScript | None], per_block: int) -> int:
    """Whole blocks that hold the longest script; the official length where all actions are random."""
    longest = max((len(script) for script in scripts if script), default=0)
    latent_frames = latent_frames_for(longest) if longest else DEFAULT_LATENT_FRAMES
    return -(-latent_frames // per_block) * per_block


def random_script(mode: Mode, seed: int, frames: int) -> ActionScript:
    return script_of(mode, islice(walk(mode, seed), frames))


def length_note(script: ActionScript, frames: int) -> str | None:
    """What happens where actions and video are not of one length."""
    if len(script) < frames:
        last = text(script.mode, script[len(script) - 1])
        return f"the actions end at frame {len(script)} of {frames}: the last one, {last}, is held"
    if len(script) > frames:
        return f"the video ends at frame {frames} of the {len(script)} that have actions"
    return None
