"""A start image of any size becomes one of the video's."""

import pytest
from PIL import Image

from wan.game.conditions import fit

SIZE = (64, 96)


@pytest.mark.parametrize(
    ("given", "box"),
    [
        ((96, 64), (0, 0, 96, 64)),
        ((960, 640), (0, 0, 960, 640)),
        ((300, 100), (75, 0, 225, 100)),  # too wide: left and right are cut off
        ((100, 300), (0, 117, 100, 183)),  # 66.67 rows of it are 66
        ((33, 16), (4, 0, 28, 16)),  # 4.5 pixels at either side, of which the left one loses 4
        ((35, 16), (6, 0, 30, 16)),  # 5.5: now it loses 6
        ((16, 37), (0, 14, 16, 24)),  # 13.5 and 23.5: both go to the even neighbour
    ],
)
def test_the_middle_is_kept(given, box):
    image = Image.effect_noise(given, 100).convert("RGB")
    want = image.crop(box).resize(SIZE[::-1], Image.Resampling.BILINEAR)
    assert fit(image, *SIZE).tobytes() == want.tobytes()
