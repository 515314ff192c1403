"""The attention seam: choice of backend and the shapes it answers with."""

import logging

import pytest
import torch

from wan.modules import attention
from wan.refusal import Refusal


def test_auto_is_logged_with_its_reason(caplog):
    caplog.set_level(logging.INFO)
    assert attention.use_backend("auto", "cpu") == "sdpa"
    assert "attention on cpu: sdpa" in caplog.text and "needs a CUDA GPU" in caplog.text


def test_asked_for_and_missing_is_an_error():
    with pytest.raises(Refusal, match="'cudnn' does not work here .*; use auto") as error:
        attention.use_backend("cudnn", "cpu")
    assert error.value.settings == ("attention auto",)
    with pytest.raises(ValueError, match="unknown; choose one of auto"):
        attention.use_backend("flesh", "cpu")


def test_every_backend_is_reported():
    found = attention.available_backends("cpu")
    assert set(found) == {"cudnn", "flash", "sdpa"} and found["sdpa"] == "ok"


def test_attend_is_softmax_attention():
    q, k, v = torch.randn(2, 5, 3, 8), torch.randn(2, 7, 3, 8), torch.randn(2, 7, 3, 8)
    weights = torch.einsum("blhd,bmhd->bhlm", q, k).div(8**0.5).softmax(-1)
    torch.testing.assert_close(attention.attend(q, k, v), torch.einsum("bhlm,bmhd->blhd", weights, v))


def test_mask_hides_keys():
    q, k, v = torch.randn(1, 4, 2, 8), torch.randn(1, 6, 2, 8), torch.randn(1, 6, 2, 8)
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[:, 4:] = False
    torch.testing.assert_close(attention.attend(q, k, v, mask), attention.attend(q, k[:, :4], v[:, :4]))
