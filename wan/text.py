"""Prompts to what the video model reads: cleaning, tokens, hidden states.

Padding is only ever as long as the longest prompt of a call: padded keys get an attention weight of exactly zero and
positions count only as distances, so the states of the text are those of a prompt padded to the full text length.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ftfy
import torch
from torch import Tensor

from wan.files.tokenizers import open_tokenizer
from wan.modules.t5 import T5Encoder

log = logging.getLogger(__name__)


def clean(text: str) -> str:
    """Repaired mojibake, HTML entities resolved (twice: web text is often escaped twice), single spaces."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split())


@dataclass(frozen=True)
class Tokens:
    ids: Tensor  # (B, L)
    mask: Tensor  # (B, L), 1 for text and its closing </s>, 0 for padding
    dropped: tuple[int, ...]  # tokens of each prompt that did not fit


class Tokenizer:
    """Of a released tokenizer.json, or of any file that wan.files.tokenizers opens; adds </s>, also to a prompt it had to cut."""

    def __init__(self, path: Path | str, text_len: int = 512):
        self._tokenizer = open_tokenizer(Path(path))
        pad = self._tokenizer.token_to_id("<pad>")
        if pad is None:
            raise ValueError(f"{path} has no <pad> token; use the tokenizer.json of google/umt5-xxl")
        self.text_len = text_len
        self._tokenizer.enable_truncation(text_len)
        self._tokenizer.enable_padding(pad_id=pad, pad_token="<pad>")

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        encoded = self._tokenizer.encode_batch([clean(p) for p in prompts])
        dropped = tuple(sum(len(part.ids) - sum(part.special_tokens_mask) for part in e.overflowing) for e in encoded)
        for prompt, count in zip(prompts, dropped):
            if count:
                log.warning("prompt cut to %d tokens, its last %d are lost: %.40s...", self.text_len, count, prompt)
        ids = torch.tensor([e.ids for e in encoded])
        return Tokens(ids, torch.tensor([e.attention_mask for e in encoded]), dropped)


class TextEncoder:
    def __init__(self, tokenizer: Tokenizer, model: T5Encoder):
        self.tokenizer = tokenizer
        self.model = model

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> list[Tensor]:
        """One (L, dim) per prompt, L its own number of tokens."""
        tokens = self.tokenizer(prompts)
        device = self.model.token_embedding.weight.device
        hidden = self.model(tokens.ids.to(device), tokens.mask.to(device))
        return [h[:length] for h, length in zip(hidden, tokens.mask.sum(dim=1).tolist())]
