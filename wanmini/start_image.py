"""The start images that come with the package, for when none is given."""

from pathlib import Path

FOLDER = Path(__file__).parent / "start_images"
VALLEY = FOLDER / "valley.jpg"  # for models that know the world at large; drawn by draw_start_image
GARDEN = FOLDER / "garden.png"  # for the mini world, which knows its own maps; drawn by world/stills, with its siblings
