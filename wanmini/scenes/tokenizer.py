"""The mini text encoder's tokenizer: the words of the captions, letters for all others, as a tokenizer.json.

Ids follow UMT5 (pad 0, </s> 1, unk 2) and </s> ends every prompt, so the file is read by the same code. A word that
no caption uses is spelled in letters: the model will not know it, but a typo does not become a different prompt.
"""

from __future__ import annotations

import itertools
import re
import string
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from wanmini.scenes import caption

SPECIAL = ("<pad>", "</s>", "<unk>")
CONTINUED = "##"


def vocabulary() -> list[str]:
    """Every word a caption can contain, in a fixed order."""
    texts = itertools.chain(
        caption.COLOURS, *caption.SHAPE_WORDS.values(), *caption.SIZE_WORDS.values(), *caption.COUNT_WORDS.values(),
        *caption.PLACES.values(), *caption.WAY_WORDS.values(), *caption.PACE_WORDS.values(),
        *itertools.chain.from_iterable(caption.TIMELESS.values()), caption.FRAMES, caption.HELD_OUT_FRAMES,
        caption.all_verb_forms(), ("an", "up and down"), map(caption.plural, itertools.chain(*caption.SHAPE_WORDS.values())),
    )  # fmt: skip
    words = {word for text in texts for word in re.findall(r"[a-z]+", re.sub(r"{\w+}", " ", text.lower()))}
    return sorted(words)


def build() -> Tokenizer:
    letters = [*string.ascii_lowercase, *string.digits, *",.:;!?'-"]
    words = [word for word in vocabulary() if len(word) > 1]
    tokens = [*SPECIAL, *letters, *(CONTINUED + letter for letter in letters), *words]
    model = models.WordPiece(
        {token: i for i, token in enumerate(tokens)}, unk_token="<unk>", continuing_subword_prefix=CONTINUED
    )
    tokenizer = Tokenizer(model)
    # other scripts are left out before letters lose their accents, and the commas of a list that was all in one: the
    # default negative prompt is nearly empty here
    latin = normalizers.Replace(Regex(r"[^\x00-\x{024F}]+"), " ")
    listed = normalizers.Replace(Regex(r"^[\s,]+|[\s,]+$|,(?=\s*,)"), " ")
    tokenizer.normalizer = normalizers.Sequence(
        [latin, listed, normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(CONTINUED)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def save(path: Path) -> None:
    build().save(str(path))
