"""Does a generated world do what its actions say, look like the one it continues, and stay a world?

The renderer, given the same start and actions, is the teacher. Pixels of it that the model cannot know are left out:
what was not in view in the last frame before a block, or was not known there itself, beginning with the start image in
which everything is known. Directions are asked of the pixels alone, also where the world has long gone its own way: of
all actions, the one given must explain best how a block's pictures follow from each other, whatever place they show (see
`wanmini.motion`). A generator is a function, so that the judge can be tried on the truth, on the truth of other maps, and
on sabotage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.game.timeline import Span, span
from wan.latents import latent_frames_for
from wanmini.clips import HELD_OUT
from wanmini.motion import misfit
from wanmini.sizes import BLOCK
from wanmini.training import psnr
from wanmini.world.maze import Maze
from wanmini.world.render import depth_map, film, points_seen, project, render
from wanmini.world.walk import State, open_start, stride, walk
from wanmini.world.wander import wander

# start images (n, 3, h, w) in [-1, 1], keyboard (n, t, 4), mouse (n, t, 2) -> video (n, 3, t, h, w)
Generate = Callable[[Tensor, Tensor, Tensor], Tensor]
Size = tuple[int, int]

COARSE = (48, 80)  # directions are compared at this size: sharpness is judged elsewhere
LOOKS = 4  # steps in which a block is followed
HINDERED = 0.1  # of the way that actions lead: further off by walls, and the block is not judged
TURN, AHEAD = 0.1, 0.0  # of the camera, in mouse units a frame
KEYS = {"W": (1, 0, 0, 0), "S": (0, 1, 0, 0), "A": (0, 0, 1, 0), "D": (0, 0, 0, 1), "": (0, 0, 0, 0)}
# what a block of a script does: a key and a turn of the camera
MOVES = (("W", AHEAD), ("S", AHEAD), ("A", AHEAD), ("D", AHEAD), ("", TURN), ("", -TURN), ("W", TURN), ("W", -TURN))
BARS = {"first_3_blocks_db": 20.0, "first_8_blocks_db": 17.0, "turn_right": 0.95, "move_right": 0.9, "idle_db": 26.0}
WITHIN = {"late_sharpness": 0.25, "late_contrast": 0.25}  # of real frames


@dataclass(frozen=True)
class Walks:
    """Held-out maps, where walkers start in them, and what they do."""

    maze: Maze
    start: State
    keyboard: Tensor
    mouse: Tensor

    def states(self) -> State:
        return walk(self.maze, self.start, self.keyboard, self.mouse)

    def start_images(self, size: Size) -> Tensor:
        return render(self.maze, self.start, size) * 2 - 1

    def true_video(self, size: Size) -> Tensor:
        return film(self.maze, self.states(), size)


def spans(blocks: int) -> list[Span]:
    return [span(block) for block in range(blocks)]


def scripted_walks(n: int, blocks: int, seed: int = 0) -> Walks:
    """Every block does one of MOVES; over eight walks and eight blocks, each equally often."""
    maze, start = _starts(n, seed)
    keyboard, mouse = [], []
    for block in spans(blocks):
        chosen = [MOVES[(walker + 3 * block.block * (walker // len(MOVES) + 1)) % len(MOVES)] for walker in range(n)]
        keyboard += [torch.tensor([KEYS[keys] for keys, _ in chosen]).float()] * len(block.frames)
        mouse += [torch.tensor([(0.0, turn) for _, turn in chosen])] * len(block.frames)
    return Walks(maze, start, torch.stack(keyboard, 1), torch.stack(mouse, 1))


def idle_walks(n: int, blocks: int = 3, seed: int = 0) -> Walks:
    frames = spans(blocks)[-1].frames.stop
    return Walks(*_starts(n, seed + 1000), torch.zeros(n, frames, 4), torch.zeros(n, frames, 2))


def long_walks(n: int, blocks: int, seed: int = 0) -> Walks:
    """The wanderer's walks, as in training but in other maps."""
    seeds = _seeds(n, seed + 2000)
    maze = Maze.from_seeds(seeds)
    wandered = wander(maze, seeds, spans(blocks)[-1].frames.stop)
    return Walks(maze, wandered.states.at(slice(None), 0), wandered.keyboard, wandered.mouse)


def _seeds(n: int, seed: int) -> Tensor:
    return torch.arange(HELD_OUT + seed, HELD_OUT + seed + n)


def _starts(n: int, seed: int) -> tuple[Maze, State]:
    return Maze.from_seeds(_seeds(n, seed)), open_start(Maze.from_seeds(_seeds(n, seed)), _seeds(n, seed))


def known_pixels(walks: Walks, size: Size) -> Tensor:
    """(n, t, h, w): what a viewer of the last frame before each block could know of the block's frames."""
    states = walks.states()
    depth = depth_map(walks.maze, states, size)
    known = torch.ones_like(depth, dtype=torch.bool)
    frames, block = depth.shape[1], 0
    while (now := span(block).frames).start < frames:
        before = max(0, now.start - 1)
        part = states.at(slice(None), slice(now.start, now.stop))
        points = points_seen(part, depth[:, now.start : now.stop])
        known[:, now.start : now.stop] = _seen(
            points, states.at(slice(None), before), depth[:, before], known[:, before]
        )
        block += 1
    return known


def _seen(points: Tensor, state: State, depth: Tensor, known: Tensor) -> Tensor:
    """Which points (n, t, h, w, 3) a picture shows, in one of its known pixels."""
    height, width = depth.shape[-2:]
    pixel, far = project(points, state, (height, width))
    column, row = pixel.floor().long().unbind(-1)
    inside = (far > 0.05) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    where = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
    shown, allowed = (v.flatten(1).gather(1, where).view_as(far) for v in (depth, known))
    return inside & allowed & ((shown - far).abs() < 0.05 + 0.05 * far)


def masked_psnr(video: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """dB over the known pixels of each clip."""
    error = (video - truth).pow(2).mean(1) * known
    return 10 * torch.log10(4 / (error.flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)).clamp(min=1e-10))


def similarity(video: Tensor, walks: Walks) -> dict[str, float]:
    """PSNR against the renderer over the first 3 and 8 blocks (where there are 8), and how much of them could be known."""
    size = (video.shape[-2], video.shape[-1])
    truth, known = walks.true_video(size), known_pixels(walks, size)
    found: dict[str, float] = {}
    for blocks in (n for n in (3, 8) if n <= _blocks(video)):
        part = slice(1, span(blocks - 1).frames.stop)
        found[f"first_{blocks}_blocks_db"] = (
            masked_psnr(video[:, :, part], truth[:, :, part], known[:, part]).mean().item()
        )
        found[f"first_{blocks}_blocks_known"] = known[:, part].float().mean().item()
    return found


def directions(video: Tensor, walks: Walks) -> dict[str, float]:
    """Shares of blocks that turn, and that move, as the action given does."""
    judged = unhindered(walks)
    last = [block.frames.stop - 1 for block in spans(_blocks(video))]
    turns, moves = walks.mouse[:, last, 1] != 0, walks.keyboard[:, last].any(-1)
    shares = turned_right(video, walks)[judged & turns], moved_right(video, walks)[judged & moves]
    return dict(zip(("turn_right", "move_right"), (share.float().mean().item() for share in shares), strict=True))


def unhindered(walks: Walks) -> Tensor:
    """(n, blocks): where no wall of the map changes where the actions lead by much. Sliding along one looks like another key."""
    states, found = walks.states(), []
    for block in spans(latent_frames_for(walks.mouse.shape[1]) // BLOCK):
        path = _path(walks, states, block)
        before, last = _before(block), block.frames.stop - 1
        way, free = states.pos[:, last] - states.pos[:, before], path.pos[:, -1]
        found.append((way - free).norm(dim=-1) <= HINDERED * free.norm(dim=-1))
    return torch.stack(found, 1)


def turned_right(video: Tensor, walks: Walks) -> Tensor:
    """(n, blocks): of the camera turning left, right or not at all, the one given explains the block best."""
    turns = [(None, torch.tensor((0.0, turn))) for turn in (-TURN, 0.0, TURN)]
    given = [(walks.mouse[:, block.frames.stop - 1, 1] / TURN + 1).round().long() for block in spans(_blocks(video))]
    return _best_explained(video, walks, turns, torch.stack(given, 1))


def moved_right(video: Tensor, walks: Walks) -> Tensor:
    """(n, blocks): of the four keys and standing still, what was given explains the block best."""
    keys = torch.tensor(list(KEYS.values())).float()
    given = [walks.keyboard[:, block.frames.stop - 1] for block in spans(_blocks(video))]
    which = (torch.stack(given, 1)[:, :, None] == keys).all(-1).float().argmax(-1)
    return _best_explained(video, walks, [(key, None) for key in keys], which)


def _best_explained(
    video: Tensor, walks: Walks, ways: Sequence[tuple[Tensor | None, Tensor | None]], given: Tensor
) -> Tensor:
    """(n, blocks): whether the way given (n, blocks) fits better than every other; a way replaces keys or camera."""
    states, right = walks.states(), []
    for block, which in zip(spans(_blocks(video)), given.unbind(1), strict=True):
        shown = [round(_before(block) + i * (block.frames.stop - 1 - _before(block)) / LOOKS) for i in range(LOOKS + 1)]
        pictures = torch.stack([F.interpolate(video[:, :, frame], COARSE, mode="area") for frame in shown], 1)
        paths = State.stack([_path(walks, states, block, *way) for way in ways], 1)
        fits = misfit(pictures, paths.at(slice(None), slice(None), torch.tensor(shown) - _before(block)))
        others = fits.scatter(1, which[:, None], torch.inf).amin(1)
        right.append(fits.gather(1, which[:, None])[:, 0] < others)
    return torch.stack(right, 1)


def _path(walks: Walks, states: State, block: Span, keys: Tensor | None = None, camera: Tensor | None = None) -> State:
    """Poses (n, t) from the frame before a block to its last under its actions, or with others all through it, if there
    were no walls. Its first frame still obeys the action before it, unless it is the clip's first."""
    before = _before(block)
    state = State(torch.zeros_like(states.pos[:, before]), states.yaw[:, before], states.pitch[:, before])
    path = [state]
    for frame in range(before, block.frames.stop - 1):
        own = frame > before or before == 0
        keyboard, mouse = walks.keyboard[:, frame], walks.mouse[:, frame]
        keyboard = keys.expand_as(keyboard) if own and keys is not None else keyboard
        mouse = camera.expand_as(mouse) if own and camera is not None else mouse
        path.append(stride(path[-1], keyboard, mouse))
    return State.stack(path, 1)


def _before(block: Span) -> int:
    return max(0, block.frames.start - 1)


def _blocks(video: Tensor) -> int:
    """How many blocks a video of whole blocks is."""
    return latent_frames_for(video.shape[2]) // BLOCK


def stillness(video: Tensor) -> dict[str, float]:
    """PSNR between the first and the last frame of an idle clip."""
    return {"idle_db": psnr(video[:, :, -1], video[:, :, 0]).mean().item()}


def plausibility(video: Tensor, real: Tensor) -> dict[str, float]:
    """Late frames against real ones, as ratios; both statistics depend little on what is in view."""
    return {f"late_{f.__name__}": (f(video) / f(real)).item() for f in (sharpness, contrast)}


def sharpness(video: Tensor) -> Tensor:
    """How much of the edges is at the scale of pixels: gradient energy over that of the same frames at half the size.
    Edges that cross 3 pixels instead of 1 lose a third of it, noise doubles it."""
    frames = video.transpose(1, 2).flatten(0, 1)
    return _gradient_energy(frames) / _gradient_energy(F.avg_pool2d(frames, 2))


def _gradient_energy(frames: Tensor) -> Tensor:
    return frames.diff(dim=-1).pow(2).mean() + frames.diff(dim=-2).pow(2).mean()


def contrast(video: Tensor) -> Tensor:
    """Spread of each colour channel within a frame: mush and washed-out worlds lose it."""
    return video.transpose(1, 2).flatten(3).std(-1).mean()


@dataclass(frozen=True)
class Extent:
    """How much is judged."""

    walkers: int = 16
    blocks: int = 8
    idlers: int = 8
    wanderers: int = 8  # none: what is late is the end of the scripted walks
    long_blocks: int = 50


QUICK = Extent(walkers=8, blocks=3, idlers=1, wanderers=0)
LATE_BLOCKS = 2


def judge(generate: Generate, extent: Extent, size: Size, seed: int = 0) -> dict[str, float]:
    """All measurements of one generator."""

    def made(walks: Walks) -> Tensor:
        return generate(walks.start_images(size), walks.keyboard, walks.mouse).clamp(-1, 1)

    scripted = scripted_walks(extent.walkers, extent.blocks, seed)
    video = made(scripted)
    found = similarity(video, scripted) | directions(video, scripted)
    found |= stillness(made(idle_walks(extent.idlers, seed=seed)))
    if not extent.wanderers:
        return found | plausibility(last_blocks(video), last_blocks(scripted.true_video(size)))
    wandering = long_walks(extent.wanderers, extent.long_blocks, seed)
    return found | plausibility(last_blocks(made(wandering)), typical_frames(size, seed))


def last_blocks(video: Tensor) -> Tensor:
    return video[:, :, spans(_blocks(video))[-LATE_BLOCKS].frames.start :]


def typical_frames(size: Size, seed: int, walks: int = 24, frames: int = 3) -> Tensor:
    """Real frames of many walks, some time into them: (walks, 3, frames, h, w)."""
    wandering = long_walks(walks, 6, seed + 5000)
    states = wandering.states().at(slice(None), slice(-frames * 12, None, 12))
    return film(wandering.maze, states, size)


def verdict(found: dict[str, float]) -> dict[str, bool]:
    """Which bars are met; a share or ratio that could not be measured is not."""
    least = {name: found[name] >= bar for name, bar in BARS.items() if name in found}
    return least | {name: abs(found[name] - 1) <= bar for name, bar in WITHIN.items()}
