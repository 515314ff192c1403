"""Start images of the mini world: `python -m wanmini.world.stills` draws the three that come with the package.

They show places in held-out maps, so a walk that begins in them is a walk through what was never trained on.
"""

from __future__ import annotations

import torch
from PIL import Image

from wanmini.clips import HELD_OUT
from wanmini.start_image import FOLDER
from wanmini.world.maze import Maze
from wanmini.world.render import render
from wanmini.world.walk import open_start

STILLS = {"garden": HELD_OUT + 7016, "lagoon": HELD_OUT + 7000, "dusk": HELD_OUT + 7019}


def still(seed: int) -> Image.Image:
    """The view from the map's open place, 96x160."""
    seeds = torch.tensor([seed])
    maze = Maze.from_seeds(seeds)
    picture = render(maze, open_start(maze, seeds))[0]
    return Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())


def main() -> None:
    for name, seed in STILLS.items():
        still(seed).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
