"""The start image that comes with the package, for when none is given."""

from pathlib import Path

START_IMAGE = Path(__file__).parent / "start_images" / "valley.jpg"
