"""Tokenizers out of SentencePiece models, against the library that made the models, and what is said of damaged ones."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wan.files.sentencepiece import SentencePieces, check_charsmap, from_facts, parse_model, tokenizer_of
from wan.files.tokenizers import carries_tokenizer, open_tokenizer
from wan.text import Tokenizer, clean

sentencepiece = pytest.importorskip("sentencepiece", reason="the independent writer of these models")

WORDS = "the cat runs over a small dog while seven red stars drift slowly to left dark background 猫 が 走る 静态 画面 细节 naïve café"
# as UMT5's: normalised by nmt_nfkc, bytes for what has no piece, <pad> </s> <unk> first
UMT5 = {"normalization_rule_name": "nmt_nfkc", "byte_fallback": True, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "model_type": "unigram", "hard_vocab_limit": False}  # fmt: skip
PROMPTS = [
    "a cat", "", "   ", "  the  cat   runs ", "ＡＢＣ　full－width", "e\u0301 A\u030a ａ", "😀 👨‍👩‍👧 🇯🇵", "猫が走る，静态画面",
    "naïve ﬁ ½ ™ \u200b x\u00a0y", "tab\tnew\nline", "ทำ", "𝒳 zebra", "▁ literal", "the ▁cat", "a\x07b", "word" * 50, "\u0300", "한국어",
]  # fmt: skip
# what the tokenizers library does not compose as SentencePiece does; prompts are composed before it sees them
COMPOSED_FIRST = ["ｶﾞ ﾊﾟ", "U\u0308\u0304", "\u1100\u1161\u11a8"]


def train(**options) -> bytes:
    """A tiny model, in a few hundredths of a second."""
    lines, made = random.Random(0), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(lines.choices(WORDS.split(), k=8)) for _ in range(400)]),
        model_writer=made, vocab_size=340, character_coverage=0.98, minloglevel=2, **UMT5 | options,
    )  # fmt: skip
    return made.getvalue()


@pytest.fixture(scope="module")
def umt5(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("umt5") / "spiece.model"
    path.write_bytes(train())
    return path


def packed(folder: Path, model: bytes) -> Path:
    """Beside weights, as ComfyUI's text encoders have it."""
    tensors = {
        "spiece_model": torch.frombuffer(bytearray(model), dtype=torch.uint8),
        "shared.weight": torch.zeros(2, 2),
    }
    save_file(tensors, folder / "umt5_xxl_fp16.safetensors")
    return folder / "umt5_xxl_fp16.safetensors"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byte_fallback": False},
        {"normalization_rule_name": "identity"},
        {"remove_extra_whitespaces": False},
        {"add_dummy_prefix": False},
        {"split_by_whitespace": False},
        {"user_defined_symbols": ["[UD]"]},
    ],
)
def test_ids_are_those_of_sentencepiece(tmp_path, options):
    model = train(**options)
    (tmp_path / "spiece.model").write_bytes(model)
    peer, tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model), open_tokenizer(tmp_path / "spiece.model")
    assert {p: tokenizer.encode(p).ids for p in PROMPTS} == {p: [*peer.encode(p), peer.eos_id()] for p in PROMPTS}


def test_prompts_reach_the_pieces_composed(umt5):
    """All that is left between the two libraries is how marks are composed, and that happens before."""
    peer, tokenizer = sentencepiece.SentencePieceProcessor(str(umt5)), Tokenizer(umt5)
    for prompt in PROMPTS + COMPOSED_FIRST:
        tokens = tokenizer([prompt])
        assert tokens.ids.tolist() == [[*peer.encode(clean(prompt)), 1]], prompt


def test_ids_are_those_of_transformers(umt5):
    pytest.importorskip("google.protobuf", reason="transformers reads such models with it")
    from transformers import T5TokenizerFast

    peer, tokenizer = T5TokenizerFast(vocab_file=str(umt5)), Tokenizer(umt5)
    for prompt in PROMPTS:
        assert tokenizer([prompt]).ids.tolist() == [peer(clean(prompt)).input_ids], prompt


def in_gguf(folder: Path, model: SentencePieces, kind: str = "t5") -> Path:
    """As llama.cpp's converter writes it, with rows of padding up to those of the embedding."""
    gguf = pytest.importorskip("gguf", reason="the independent writer of these files")
    writer = gguf.GGUFWriter(folder / "umt5-xxl-encoder-Q8_0.gguf", "t5encoder")
    writer.add_tokenizer_model(kind)
    writer.add_token_list([*model.texts, "[PAD0]", "[PAD1]"])
    writer.add_token_scores([*model.scores, -10000.0, -10000.0])
    writer.add_token_types([*model.types, 5, 5])
    writer.add_precompiled_charsmap(model.charsmap)
    writer.add_add_space_prefix(model.dummy_prefix)
    writer.add_remove_extra_whitespaces(model.single_spaces)
    writer.add_unk_token_id(model.unknown)
    writer.add_tensor("enc.blk.0.attn_q.weight", np.zeros((2, 2), np.float32))
    from tests.wan.files.gguf_files import finish  # which needs the package

    finish(writer)
    return folder / "umt5-xxl-encoder-Q8_0.gguf"


def test_a_gguf_file_makes_the_same_tokenizer(umt5, tmp_path):
    file = in_gguf(tmp_path, parse_model(umt5, umt5.read_bytes()))
    tokenizer, same = open_tokenizer(file), open_tokenizer(umt5)
    for prompt in [*PROMPTS, "[PAD1]"]:
        assert tokenizer.encode(prompt).ids == same.encode(prompt).ids
    assert carries_tokenizer(file)
    other = in_gguf(tmp_path, parse_model(umt5, umt5.read_bytes()), kind="llama")
    assert not carries_tokenizer(other)
    with pytest.raises(ValueError, match="Q8_0.gguf has no SentencePiece model of the unigram kind"):
        open_tokenizer(other)


def test_every_file_that_carries_a_model_makes_the_same_tokenizer(umt5, tmp_path):
    weights = packed(tmp_path, umt5.read_bytes())
    open_tokenizer(umt5).save(str(tmp_path / "tokenizer.json"))
    tokens = [
        Tokenizer(path, text_len=6)(["the cat", "stars drift slowly over a dog"]) for path in (umt5, weights, tmp_path)
    ]
    for other in tokens[1:]:
        assert torch.equal(other.ids, tokens[0].ids) and torch.equal(other.mask, tokens[0].mask)
    assert tokens[0].ids[0, -1] == 0  # <pad>
    assert tokens[0].dropped[1] > 0 and tokens[0].ids[1, -1] == 1  # cut, and closed all the same
    assert carries_tokenizer(weights) and not carries_tokenizer(umt5) and not carries_tokenizer(tmp_path)


def test_a_damaged_model_is_one_sentence(umt5, tmp_path):
    model, damage = umt5.read_bytes(), random.Random(1)
    broken = [model[: damage.randrange(1, len(model))] for _ in range(40)]
    for _ in range(200):
        at, byte = damage.randrange(len(model) if damage.random() < 0.5 else 6000), damage.randrange(256)
        broken.append(model[:at] + bytes([byte]) + model[at + 1 :])
    path, refused = tmp_path / "spiece.model", 0
    for data in broken:
        path.write_bytes(data)
        try:
            open_tokenizer(path).encode("the ｃａｔ e\u0301 runs 😀")  # what still opens must cut a text
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: train(model_type="bpe", hard_vocab_limit=True), "no SentencePiece model of the unigram kind"),
        (lambda: train(eos_id=-1), "no tokens of a text encoder"),
        (lambda: b"\n" + bytes(40), "damaged SentencePiece model"),
        (lambda: b"<html>", "is not a tokenizer.json, a spiece.model"),
    ],
)
def test_other_files_are_named(tmp_path, made, said):
    (tmp_path / "spiece.model").write_bytes(made())
    with pytest.raises(ValueError, match=said):
        open_tokenizer(tmp_path / "spiece.model")


def test_weights_without_a_model_are_named(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="a.safetensors carries no tokenizer; name a tokenizer.json"):
        open_tokenizer(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError, match="a tokenizer.json, a spiece.model"):
        open_tokenizer(tmp_path / "nowhere")


def test_a_table_that_leads_out_of_itself_is_refused(umt5):
    """The library follows it without looking, and ends the process where it leads out."""
    charsmap = parse_model(umt5, umt5.read_bytes()).charsmap
    check_charsmap(umt5, charsmap)
    size, texts = int.from_bytes(charsmap[:4], "little"), len(charsmap) - 4
    for broken in (
        charsmap[:3],
        charsmap[: 4 + size],
        charsmap[:4] + b"\xff\xff\xff\x7f" * (size // 4) + charsmap[4 + size :],
        charsmap[: -texts // 8],
        (size + 1).to_bytes(4, "little") + charsmap[4:],
    ):
        with pytest.raises(ValueError, match="damaged table of characters"):
            check_charsmap(umt5, broken)


def test_damaged_facts_are_one_sentence(umt5):
    model = parse_model(umt5, umt5.read_bytes())
    facts = {
        "model": "t5", "tokens": model.texts, "scores": model.scores, "token_type": model.types, "precompiled_charsmap": [],
    }  # fmt: skip
    facts = {f"tokenizer.ggml.{name}": value for name, value in facts.items()}
    tokenizer_of(umt5, from_facts(umt5, facts))
    for name, value, said in (
        ("model", "llama", "no SentencePiece model"),
        ("tokens", [1], "does not say what its tokens are .tokens"),
        ("scores", [0.0], "of different number"),
        ("tokens", ["a\udcff", *model.texts[1:]], "damaged"),
        ("unknown_token_id", "2", "does not say"),
        ("unknown_token_id", 10000, "no tokens of a text encoder"),
        ("precompiled_charsmap", "text", "precompiled_charsmap"),
    ):
        with pytest.raises(ValueError, match=said):
            tokenizer_of(umt5, from_facts(umt5, facts | {f"tokenizer.ggml.{name}": value}))
