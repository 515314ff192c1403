"""English for a scene, varied: synonyms, word order, and where the backdrop and the pace are mentioned.

Held-out captions use sentence frames that training never shows, made of words that it does.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable

from wanmini.scenes.attributes import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, SIZES, SPEEDS, Scenes

SHAPE_WORDS = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "ring": ("ring", "hoop"),
    "cross": ("cross", "plus sign"),
}
SIZE_WORDS = {
    "small": ("small", "little", "tiny"),
    "medium": ("", "", "medium-sized"),
    "large": ("large", "big", "huge"),
}
COUNT_WORDS = {1: ("a", "a", "one", "a single"), 2: ("two", "a pair of"), 3: ("three", "a group of three")}
PLACES = {
    "white": ("on a white background", "against a white backdrop", "in front of a white wall"),
    "grey": ("on a grey background", "against a grey backdrop", "in front of a grey wall"),
    "dark": ("on a dark background", "against a dark backdrop", "in the dark of night"),
    "sand": ("on a sandy background", "against a beige backdrop", "in front of a beige wall"),
    "sky": ("on a pale blue background", "against a pale blue sky", "in front of a pale blue wall"),
    "dusk": ("on a mauve background", "against a mauve backdrop", "in the mauve light of dusk"),
}
VERBS = ("move", "glide", "slide", "drift", "travel", "float")
WAY_WORDS = {
    "right": ("to the right", "rightwards", "from left to right", "towards the right side"),
    "left": ("to the left", "leftwards", "from right to left", "towards the left side"),
    "down": ("down", "downwards", "from top to bottom", "towards the bottom"),
    "up": ("up", "upwards", "from bottom to top", "towards the top"),
    "down right": ("diagonally down to the right", "down and to the right", "towards the bottom right corner"),
    "down left": ("diagonally down to the left", "down and to the left", "towards the bottom left corner"),
    "up right": ("diagonally up to the right", "up and to the right", "towards the top right corner"),
    "up left": ("diagonally up to the left", "up and to the left", "towards the top left corner"),
}
PACE_WORDS = {
    "slow": ("slowly", "at a slow pace", "gently"),
    "medium": ("at a steady pace", "steadily", "at a medium speed"),
    "fast": ("quickly", "at high speed", "fast"),
}
TIMELESS = {
    "grow": (("grow",), ("larger and larger", "bigger", "steadily")),
    "shrink": (("shrink",), ("smaller and smaller", "steadily", "to a smaller size")),
    "still": (("stay", "stand", "remain"), ("still", "motionless", "perfectly still")),
}
# {who} {does} {way} {pace} {place}; {doing} is the -ing form
FRAMES = (
    "{who} {does} {way} {pace} {place}.",
    "{who} {does} {pace} {way} {place}.",
    "{place}, {who} {does} {way} {pace}.",
    "{who} {place} {does} {way} {pace}.",
    "a video of {who} {doing} {way} {pace} {place}.",
    "{who}, {doing} {way} {pace}, {place}.",
)
HELD_OUT_FRAMES = (
    "{place}, {pace}, {who} {does} {way}.",
    "a video {place}: {who} {doing} {way} {pace}.",
    "{who} {doing} {pace} {way}, {place}.",
)


Pick = Callable[[tuple[str, ...]], str]


def captions(scenes: Scenes, held_out: bool = False) -> list[str]:
    """One sentence a scene; the same scene is always told the same way."""
    names = ("phrasing", "shape", "colour", "background", "size", "speed", "count", "motion")
    rows = zip(*(getattr(scenes, name).tolist() for name in names), strict=True)
    return [caption(*row, frames=HELD_OUT_FRAMES if held_out else FRAMES) for row in rows]


def caption(phrasing: int, shape: int, colour: int, background: int, size: int, speed: int, count: int, motion: int,
            *, frames: tuple[str, ...] = FRAMES) -> str:  # fmt: skip
    pick: Pick = random.Random(phrasing).choice
    noun = pick(SHAPE_WORDS[SHAPES[shape]])
    who = f"{pick(COUNT_WORDS[count])} {pick(SIZE_WORDS[SIZES[size]])} {COLOURS[colour]} {plural(noun) if count > 1 else noun}"
    verb, way, pace = _motion(MOTIONS[motion], SPEEDS[speed], pick)
    does = verb if count > 1 else verb + "s"
    place = pick(PLACES[BACKGROUNDS[background]])
    return _tidy(pick(frames).format(who=who, does=does, doing=_ing(verb), way=way, pace=pace, place=place))


def _motion(motion: str, speed: str, pick: Pick) -> tuple[str, str, str]:
    """Verb, way and pace; what goes nowhere has no pace."""
    if motion in TIMELESS:
        verbs, manners = TIMELESS[motion]
        return pick(verbs), pick(manners), ""
    if motion == "bounce":
        return "bounce", "up and down", pick(PACE_WORDS[speed])
    return pick(VERBS), pick(WAY_WORDS[motion]), pick(PACE_WORDS[speed])


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def all_verb_forms() -> list[str]:
    verbs = (*VERBS, "bounce", *itertools.chain.from_iterable(verbs for verbs, _ in TIMELESS.values()))
    return [form for verb in verbs for form in (verb, verb + "s", _ing(verb))]


def _ing(verb: str) -> str:
    odd = {"move": "moving", "glide": "gliding", "slide": "sliding", "bounce": "bouncing", "travel": "travelling"}
    return odd.get(verb, verb + "ing")


def _tidy(text: str) -> str:
    """Single spaces, no space or comma before a stop, "an" before a vowel, a capital in front."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"[ ,]+([,.:])", r"\1", text)
    text = re.sub(r"\b(a)(?= [aeiou])", "an", text)
    return text[0].upper() + text[1:]
