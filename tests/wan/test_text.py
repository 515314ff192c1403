import logging

import pytest
import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from wan.config import T5Config
from wan.modules.t5 import T5Encoder
from wan.text import TextEncoder, Tokenizer, clean


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory):
    """Built as the released one is: a unigram model that closes every prompt with </s>."""
    words = ["<pad>", "</s>", "<unk>", "▁a", "▁cat", "▁runs", "▁", *"abcdefghijklmnopqrstuvwxyz&"]
    tokenizer = FastTokenizer(models.Unigram([(w, -float(i)) for i, w in enumerate(words)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    path = tmp_path_factory.mktemp("text") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.mark.parametrize(
    "raw, cleaned",
    [
        ("  a\t cat \n\n runs ", "a cat runs"),
        ("cats &amp;amp; dogs", "cats & dogs"),
        ("caf\u00c3\u00a9", "caf\u00e9"),  # UTF-8 read as Latin-1
        ("a\u3000cat\u00a0runs", "a cat runs"),
        ("", ""),
    ],
)
def test_cleaning(raw, cleaned):
    assert clean(raw) == cleaned


def test_tokens_are_those_of_transformers(tokenizer_json):
    peer = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_json), pad_token="<pad>", eos_token="</s>")
    prompts = ["a cat", "", "a cat runs a cat runs a cat", "zebra"]
    want = peer(prompts, padding="max_length", truncation=True, max_length=6, return_tensors="pt")
    got = Tokenizer(tokenizer_json, text_len=6)(prompts)
    assert torch.equal(got.ids, want.input_ids) and torch.equal(got.mask, want.attention_mask)


def test_a_cut_prompt_keeps_its_end_mark_and_is_reported(tokenizer_json, caplog):
    with caplog.at_level(logging.WARNING):
        tokens = Tokenizer(tokenizer_json, text_len=4)(["a cat runs a cat", "a cat"])
    assert tokens.dropped == (2, 0)
    assert tokens.ids[0, -1] == 1  # </s>
    assert "cut to 4 tokens, its last 2 are lost" in caplog.text


def test_encoded_prompts_have_their_own_length_and_no_trace_of_padding(tokenizer_json):
    torch.manual_seed(0)
    model = T5Encoder(T5Config(vocab=40, dim=32, dim_attn=32, dim_ffn=48, num_heads=2, num_layers=2)).eval()
    encoder = TextEncoder(Tokenizer(tokenizer_json), model)
    long, short = encoder.encode(["a cat runs a cat", "a cat"])
    assert long.shape == (6, 32) and short.shape == (3, 32)
    # alone it is not padded at all; only the order of sums differs
    torch.testing.assert_close(short, encoder.encode(["a cat"])[0], rtol=1e-5, atol=1e-5)


def test_a_missing_or_broken_tokenizer_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="tokenizer.json"):
        Tokenizer(tmp_path)
    broken = tmp_path / "tokenizer.json"
    broken.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="is not a tokenizer.json"):
        Tokenizer(broken)
