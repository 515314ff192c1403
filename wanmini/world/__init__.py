"""The mini world: a first-person maze drawn in plain torch, for training the small world model and for judging it."""

from wanmini.world.maze import Maze
from wanmini.world.render import render, rollout
from wanmini.world.walk import State, step

__all__ = ["Maze", "State", "render", "rollout", "step"]
