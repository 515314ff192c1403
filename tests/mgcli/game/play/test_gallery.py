"""Start images to choose from: which there are, under which numbers, and that they do not pile up."""

from collections.abc import Callable

import pytest
from PIL import Image

from mgcli.game.play.gallery import MOST_OWN, Gallery
from mgcli.game.play.request import PlayRequest
from mgcli.game.play.tape import first_start
from wanmini.start_image import GARDEN, VALLEY


def colour(name: str) -> Image.Image:
    return Image.new("RGB", (48, 32), name)


@pytest.fixture
def gallery(request_for: Callable[..., PlayRequest]) -> Gallery:
    return Gallery(first_start(request_for()), 32, 48)


def test_the_image_of_the_start_comes_first_and_every_bundled_one_once(request_for: Callable[..., PlayRequest]):
    def of(*images) -> list[str]:
        start = first_start(request_for(image=list(images)))
        return [entry["name"] for entry in Gallery(start, 32, 48).describe(start)]

    assert of()[0] == GARDEN.name and len(set(of())) == len(of()) == 4
    assert of(VALLEY)[0] == VALLEY.name and sorted(of(VALLEY)) == sorted(of())


def test_own_images_are_kept_while_there_is_room(gallery: Gallery):
    bundled = len(gallery.describe(gallery.find(0)))
    colours = ["red", "green", "blue", "white", "black", "teal", "navy", "gold"]
    starts = [gallery.add(colour(name)) for name in colours]
    entries = gallery.describe(starts[-1])
    own = [entry for entry in entries if entry["own"]]
    assert len(own) == MOST_OWN and len(entries) == bundled + MOST_OWN
    assert [entry["number"] for entry in own] == list(range(bundled + 2, bundled + 8)), "numbers are given once"
    assert gallery.find(bundled) is None and gallery.thumbnail(bundled) is None
    assert [entry["number"] for entry in entries if entry["current"]] == [bundled + 7]


def test_the_same_image_again_is_the_same_entry(gallery: Gallery):
    assert gallery.add(colour("red")) is gallery.add(colour("red"))
