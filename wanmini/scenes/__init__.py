"""Captioned scenes: flat shapes that move over soft backgrounds, with the English that describes them."""

from wanmini.scenes.attributes import Scenes
from wanmini.scenes.caption import captions
from wanmini.scenes.draw import draw

__all__ = ["Scenes", "captions", "draw"]
