"""The mini world: reproducible, walkable, and moving the way its actions say."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wanmini.draws import uniform
from wanmini.world import Maze, State, render, rollout, step
from wanmini.world.maze import FREE, PILLAR, WALL
from wanmini.world.walk import BODY, PACE, RADIANS_PER_UNIT, open_start, walk
from wanmini.world.wander import wander

SMALL = (24, 40)


def _start(seed: int = 3, n: int = 2) -> tuple[Maze, State]:
    return Maze.generate(seed, n), open_start(Maze.generate(seed, n), torch.arange(seed, seed + n))


def _actions(n: int, frames: int, keys: tuple[int, ...] = (0, 0, 0, 0), mouse: tuple[float, ...] = (0, 0)):
    return torch.tensor(keys).float().expand(n, frames, 4), torch.tensor(mouse).float().expand(n, frames, 2)


def test_draws_depend_on_seed_and_stream_only() -> None:
    both = uniform(torch.tensor([5, 9]), 1, 4)
    assert torch.equal(both[1], uniform(torch.tensor([9]), 1, 4)[0])
    assert not torch.equal(both, uniform(torch.tensor([5, 9]), 2, 4))
    many = uniform(torch.arange(1000), 3, 50)
    assert abs(float(many.mean()) - 0.5) < 0.005 and many.ge(0).all() and many.lt(1).all()


def test_a_picture_depends_on_map_and_pose_alone() -> None:
    maze, state = _start(n=3)
    alone = render(Maze.generate(4, 1), state.at(slice(1, 2)), SMALL)
    # grid_sample vectorises differently for other batch sizes: last bits only
    assert torch.allclose(render(maze, state, SMALL)[1], alone[0], atol=1e-5)


def test_every_free_cell_can_be_reached() -> None:
    free = (Maze.generate(0, 64).kind != WALL).float()[:, None]
    reached = torch.zeros_like(free)
    reached[:, :, 1, 1] = 1
    cross = torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]])[None, None]
    for _ in range(17 * 17):
        reached = (F.conv2d(reached, cross, padding=1) > 0).float() * free
    assert torch.equal(reached, free)


def test_walkers_never_enter_walls_or_pillars() -> None:
    maze = Maze.generate(0, 32)
    pos = wander(maze, torch.arange(32), 120).states.pos
    cells = torch.stack(torch.meshgrid(torch.arange(17), torch.arange(17), indexing="xy"), -1).reshape(1, 1, -1, 2)
    box = pos[:, :, None] - torch.maximum(torch.minimum(pos[:, :, None], cells + 1.0), cells.float())
    wall = torch.where((maze.kind == WALL).flatten(1)[:, None], box.norm(dim=-1), 9.0)
    pillar = torch.where((maze.kind == PILLAR).flatten(1)[:, None], (pos[:, :, None] - cells - 0.5).norm(dim=-1), 9.0)
    assert float(wall.min()) > BODY - 0.01  # two pushes leave at most a hundredth of a cell
    assert float(pillar.min()) > BODY + 0.3 - 0.01


def test_open_starts_are_free() -> None:
    maze, state = _start(0, 64)
    x, y = state.pos.long().unbind(-1)
    assert (maze.kind[torch.arange(64), y, x] == FREE).all()


def test_steps_follow_the_keys() -> None:
    maze = Maze.generate(0, 1)
    maze.kind[:, 1:-1, 1:-1] = FREE
    middle = State(torch.tensor([[8.5, 8.5]]), torch.zeros(1), torch.zeros(1))
    moves = {
        (1, 0, 0, 0): (1, 0),
        (0, 1, 0, 0): (-1, 0),
        (0, 0, 1, 0): (0, -1),
        (0, 0, 0, 1): (0, 1),
        (1, 1, 0, 0): (0, 0),
    }
    for keys, way in moves.items():
        after = step(middle, torch.tensor([keys]).float(), torch.zeros(1, 2), maze)
        assert torch.allclose(after.pos - middle.pos, PACE * torch.tensor([way]).float(), atol=1e-6)
    diagonal = step(middle, torch.tensor([[1.0, 0, 0, 1]]), torch.zeros(1, 2), maze)
    assert torch.allclose((diagonal.pos - middle.pos).norm(), torch.tensor(PACE))
    turned = step(middle, torch.zeros(1, 4), torch.tensor([[0.1, 0.1]]), maze)
    assert torch.allclose(turned.yaw, torch.tensor([0.1 * RADIANS_PER_UNIT])) and turned.pitch > 0


def test_walls_let_one_slide_along() -> None:
    maze = Maze.generate(0, 1)
    maze.kind[:, 1:-1, 1:-1] = FREE
    corner = State(torch.tensor([[15.7, 8.5]]), torch.full((1,), 0.6), torch.zeros(1))
    end = walk(maze, corner, *_actions(1, 40, (1, 0, 0, 0))).at(slice(None), -1)
    assert abs(float(end.pos[0, 0]) - (16 - BODY)) < 0.01 and float(end.pos[0, 1]) > 9.5


def _shift(before: Tensor, after: Tensor) -> int:
    """By how many pixels the picture moved to the right."""
    middle = slice(7, before.shape[-1] - 7)
    crops = {d: F.mse_loss(after.roll(-d, -1)[..., middle], before[..., middle]) for d in range(-6, 7)}
    return min(crops, key=lambda d: float(crops[d]))


def test_turning_right_moves_the_picture_left_and_looking_up_moves_it_down() -> None:
    maze, state = _start()
    before = render(maze, state, SMALL)
    right = render(maze, State(state.pos, state.yaw + 0.1, state.pitch), SMALL)
    assert _shift(before, right) < 0
    up = render(maze, State(state.pos, state.yaw, state.pitch + 0.15), SMALL)  # on its side, down is right
    assert _shift(before.transpose(2, 3), up.transpose(2, 3)) > 0


def test_action_i_leads_from_frame_i_to_frame_i_plus_1() -> None:
    maze, state = _start()
    keyboard, mouse = _actions(2, 4)
    mouse = mouse.clone()
    mouse[:, 1, 1] = 0.3
    video = rollout(maze, state, keyboard, mouse)
    assert video.shape == (2, 3, 4, 96, 160) and video.min() >= -1 and video.max() <= 1
    assert torch.equal(video[:, :, 0], video[:, :, 1])
    assert not torch.allclose(video[:, :, 1], video[:, :, 2], atol=0.05)
    assert torch.equal(video[:, :, 2], video[:, :, 3])


def test_pictures_are_calm() -> None:
    """A small VAE must be able to carry them: mean absolute step between neighbouring pixels below 2.5 % of the range."""
    maze, state = _start(0, 8)
    picture = render(maze, state)
    assert float(picture.diff(dim=-1).abs().mean()) < 0.025
    assert float(picture.mean()) > 0.35 and float(picture.std()) > 0.1
