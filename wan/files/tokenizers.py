"""A tokenizer from whatever carries one: a tokenizer.json, a spiece.model, or a text encoder's own file of weights.

ComfyUI's safetensors have the SentencePiece model beside the weights, as bytes; GGUF files have its pieces among their facts.
What a file is stands in its first bytes, as for weights (wan.files.readers).
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from tokenizers import Tokenizer

from wan.files.gguf import MAGIC, gguf_facts
from wan.files.readers import begins_safetensors, open_tensors
from wan.files.sentencepiece import from_facts, parse_model, says_tokens, tokenizer_of

IN_A_FOLDER = ("tokenizer.json", "spiece.model")
PACKED_IN = "spiece_model"
KINDS = "a tokenizer.json, a spiece.model or a text encoder's file that carries one"


def open_tokenizer(path: Path) -> Tokenizer:
    """Closes every text with </s>, has a <pad>."""
    path = next((path / name for name in IN_A_FOLDER if (path / name).is_file()), path)
    if not path.is_file():
        raise FileNotFoundError(f"no tokenizer at {path}; {KINDS} is needed")
    start = _start(path)
    if start.startswith(MAGIC):
        return tokenizer_of(path, from_facts(path, gguf_facts(path)))
    if begins_safetensors(start):
        return tokenizer_of(path, parse_model(path, _packed_in(path)))
    if start.startswith(b"\n") and not start.lstrip().startswith(b"{"):  # the first piece of a SentencePiece model
        return tokenizer_of(path, parse_model(path, path.read_bytes()))
    return _tokenizer_json(path)


def carries_tokenizer(path: Path) -> bool:
    """Whether a file of weights has a tokenizer in it."""
    if not path.is_file():
        return False
    start = _start(path)
    if start.startswith(MAGIC):
        return says_tokens(gguf_facts(path))
    return begins_safetensors(start) and PACKED_IN in open_tensors(path)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(32)


def _packed_in(path: Path) -> bytes:
    stored = open_tensors(path).get(PACKED_IN)
    if stored is None or stored.dtype != torch.uint8:
        raise ValueError(f"{path} carries no tokenizer; name {KINDS}")
    data = torch.empty(math.prod(stored.shape), dtype=torch.uint8)
    stored.read_into(data, data)
    return data.numpy().tobytes()


def _tokenizer_json(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is not {KINDS}; download it again ({reason})") from error
