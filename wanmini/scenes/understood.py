"""What the text-to-video mini can be told: the words of its captions, and a shape among them.

It spells any other word in letters and makes something of its own of it, so whoever asks for a video is told before.
"""

from __future__ import annotations

import itertools
import re
import unicodedata

from wanmini.scenes.caption import SHAPE_WORDS, plural
from wanmini.scenes.tokenizer import vocabulary


def words_of(prompt: str) -> list[str]:
    """As the tokenizer splits it: without case and accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", prompt) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", plain.lower())


def unknown_words(prompt: str) -> list[str]:
    """Those that no caption uses, each once."""
    known = set(vocabulary())
    return [word for word in dict.fromkeys(words_of(prompt)) if word not in known]


def names_a_shape(prompt: str) -> bool:
    nouns = itertools.chain.from_iterable((noun, plural(noun)) for names in SHAPE_WORDS.values() for noun in names)
    said = f" {' '.join(words_of(prompt))} "
    return any(f" {noun} " in said for noun in nouns)
