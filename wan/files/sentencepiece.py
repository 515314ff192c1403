"""SentencePiece models of the unigram kind, as a spiece.model holds them or the facts of a GGUF file, made into tokenizers.

Files of one model often carry nothing else to cut a prompt with. The message format is read here, a few lines, and nothing
in it is believed before it is checked: what the tokenizers library is given wrong, it ends the process over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, processors

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM = 1
SPACE = "\u2581"  # what stands for it in pieces
DAMAGED = "download it again"
NOT_TOKENS = "has no SentencePiece model of the unigram kind"
# where the messages have what is read of them
PIECES, TRAINER, NORMALIZER = 1, 2, 3
TEXT, SCORE, TYPE = 1, 2, 3
MODEL_TYPE, UNKNOWN_ID = 3, 40
CHARSMAP, DUMMY_PREFIX, SINGLE_SPACES = 2, 3, 4
SIZES = {1: 8, 5: 4}  # of kinds of field that do not say it
GGUF = "tokenizer.ggml."


@dataclass(frozen=True)
class SentencePieces:
    """The parts of a model that decide how a text is cut."""

    texts: list[str]
    scores: list[float]
    types: list[int]
    unknown: int
    charsmap: bytes = b""  # which characters become which others, as the library stores it
    dummy_prefix: bool = True
    single_spaces: bool = True


def parse_model(path: Path, data: bytes) -> SentencePieces:
    """The message of a spiece.model; `path` is for what is said of it."""
    try:
        return _parse_model(path, data)
    except (struct.error, LookupError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} has a damaged SentencePiece model; {DAMAGED}") from error


def _parse_model(path: Path, data: bytes) -> SentencePieces:
    pieces: list[dict[int, Any]] = []
    parts: dict[int, dict[int, Any]] = {TRAINER: {}, NORMALIZER: {}}
    for field, value in _fields(data):
        if field == PIECES:
            pieces.append(dict(_fields(value)))
        elif field in parts:
            parts[field] |= dict(_fields(value))
    trainer, normalizer = parts[TRAINER], parts[NORMALIZER]
    if trainer.get(MODEL_TYPE, UNIGRAM) != UNIGRAM or not pieces:
        raise ValueError(f"{path} {NOT_TOKENS}; name the tokenizer.json of google/umt5-xxl")
    return SentencePieces(
        [piece[TEXT].decode() if TEXT in piece else "" for piece in pieces],
        [struct.unpack("<f", piece.get(SCORE, bytes(4)))[0] for piece in pieces],
        [int(piece.get(TYPE, NORMAL)) for piece in pieces],
        trainer.get(UNKNOWN_ID, 0),
        bytes(normalizer.get(CHARSMAP, b"")),
        bool(normalizer.get(DUMMY_PREFIX, True)),
        bool(normalizer.get(SINGLE_SPACES, True)),
    )


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a message: an int, or the bytes of a float, a text or a message within."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        else:
            size = SIZES[kind]
        if at + size > end:
            raise IndexError(f"{size} bytes where {end - at} are left")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; and where the next thing begins."""
    value = data[at]
    if value < 128:
        return value, at + 1
    value, shift = value & 127, 7
    while (byte := data[at := at + 1]) >= 128:
        value |= (byte & 127) << shift
        shift += 7
        if shift > 63:
            raise IndexError("a number without end")
    return value | byte << shift, at + 1


def from_facts(path: Path, facts: dict[str, Any]) -> SentencePieces:
    """What a GGUF file says of its tokens; llama.cpp calls the unigram kind by the model that has it."""
    if not says_tokens(facts):
        raise ValueError(f"{path} {NOT_TOKENS}; name the tokenizer.json of google/umt5-xxl")
    rows = {"tokens": str, "scores": float, "token_type": int, "precompiled_charsmap": int}
    given = {name: facts.get(GGUF + name, []) for name in rows}
    unknown = facts.get(f"{GGUF}unknown_token_id", 2)
    wrong = [name for name, kind in rows.items() if not _all(kind, given[name])]
    lengths = {len(given[name]) for name in rows if name != "precompiled_charsmap"}
    if wrong or len(lengths) > 1 or not isinstance(unknown, int):
        raise ValueError(
            f"{path} does not say what its tokens are ({', '.join(wrong) or 'of different number'}); {DAMAGED}"
        )
    texts, scores, types, charsmap = given.values()
    prefix, single = (bool(facts.get(GGUF + name, True)) for name in ("add_space_prefix", "remove_extra_whitespaces"))
    return SentencePieces(texts, scores, types, unknown, bytes(value & 255 for value in charsmap), prefix, single)


def says_tokens(facts: dict[str, Any]) -> bool:
    return bool(facts.get(f"{GGUF}model") == "t5")


def _all(kind: type, row: Any) -> bool:
    return isinstance(row, list) and all(isinstance(value, kind) for value in row)


def tokenizer_of(path: Path, model: SentencePieces) -> Tokenizer:
    """Cuts a text as SentencePiece does and closes it with </s>."""
    end = model.texts.index("</s>") if "</s>" in model.texts else None
    if end is None or not (0 <= model.unknown < len(model.texts)) or len(set(model.texts)) < len(model.texts):
        raise ValueError(f"{path} has no tokens of a text encoder such as UMT5's; name its tokenizer.json")
    check_charsmap(path, model.charsmap)
    try:
        made = Tokenizer(models.Unigram(list(_vocabulary(model)), model.unknown, BYTE in model.types))
        made.normalizer = _normalizer(model)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{path} has a damaged SentencePiece model; {DAMAGED}") from error
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    for kinds, add in (((UNKNOWN, CONTROL), made.add_special_tokens), ((USER_DEFINED,), made.add_tokens)):
        added = [text for text, kind in zip(model.texts, model.types) if kind in kinds and text]
        add([AddedToken(text, normalized=False) for text in added])
    return made


def _vocabulary(model: SentencePieces) -> Iterator[tuple[str, float]]:
    """Only normal pieces have a say in what is likely; one out of use, under its own name, could still be cut out."""
    for i, (text, score, kind) in enumerate(zip(model.texts, model.scores, model.types)):
        yield (f"\0{i}" if kind == UNUSED else text), (score if kind == NORMAL else 0.0)


def _normalizer(model: SentencePieces) -> normalizers.Normalizer:
    """No text is cut before the pieces do it: there may be some with a space in them."""
    steps: list[normalizers.Normalizer] = []
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.single_spaces:
        steps += [
            normalizers.Replace(Regex(r"\A +| +\z"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    steps.append(normalizers.Replace(" ", SPACE))
    if model.dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    return normalizers.Sequence(steps)


def check_charsmap(path: Path, charsmap: bytes) -> None:
    """A double array of 32-bit units behind its length, then the texts that it leads to, each closed by a zero: every step
    must stay in the array, every end lead to where a letter begins."""
    if not charsmap:
        return
    size = int.from_bytes(charsmap[:4], "little")
    texts = np.frombuffer(charsmap[4 + size :], np.uint8)
    fits = len(charsmap) >= 4 and 0 < size <= len(charsmap) - 4 and size % 4 == 0
    if not (fits and len(texts) and _leads_nowhere_else(np.frombuffer(charsmap[4 : 4 + size], "<u4"), texts)):
        raise ValueError(f"{path} has a damaged table of characters; {DAMAGED}")


def _leads_nowhere_else(units: np.ndarray, texts: np.ndarray) -> bool:
    units = units.astype(np.int64)
    ends = units >> 31 == 1
    offsets = units >> 10 << ((units & 1 << 9) >> 6)
    steps = (np.arange(len(units)) ^ offsets) | 255
    places = units[ends] & 0x7FFFFFFF
    if (steps[~ends] >= len(units)).any() or (places >= len(texts)).any():
        return False
    return not ((texts[places] & 0xC0) == 0x80).any()
