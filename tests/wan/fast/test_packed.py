"""Packed weights: each format against the `gguf` package to the bit, and the kernel against the plain way to the bit."""

import numpy as np
import pytest
import torch

from wan.fast.kernels import packed
from wan.files.packed import FORMATS, unpack

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def random_blocks(format, count=67, seed=0):
    """Any bytes are a block; only its float16 numbers must not be infinite or no numbers."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, format.size), dtype=np.uint8)
    for place in (format.d, format.dmin):
        if place is not None:
            blocks[:, place : place + 2] = rng.normal(size=(count, 1)).astype(np.float16).view(np.uint8)
    return blocks


@pytest.mark.parametrize("name", FORMATS)
def test_equals_the_gguf_package_to_the_bit(name):
    gguf = pytest.importorskip("gguf")
    blocks = random_blocks(FORMATS[name])
    want = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name]).astype(np.float32)
    got = torch.empty(want.shape)
    unpack(torch.from_numpy(blocks), FORMATS[name], got)
    assert np.array_equal(got.numpy().view(np.int32), want.view(np.int32))


@pytest.mark.parametrize("name", FORMATS)
def test_sizes_are_those_of_the_gguf_package(name):
    gguf = pytest.importorskip("gguf")
    assert (FORMATS[name].elements, FORMATS[name].size) == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]


DTYPES = [torch.float32, torch.float16] + [torch.bfloat16] * (DEVICE == "cuda")  # the interpreter cuts bfloat16 off


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMATS)
def test_the_kernel_equals_the_plain_way_to_the_bit(name, dtype, monkeypatch):
    pytest.importorskip("triton", reason="Triton is not installed (it exists for Linux only)")
    blocks = torch.from_numpy(random_blocks(FORMATS[name])).to(DEVICE)
    want, got = (torch.empty(len(blocks), FORMATS[name].elements, dtype=dtype, device=DEVICE) for _ in range(2))
    unpack(blocks, FORMATS[name], want)
    monkeypatch.setattr(packed, "use_triton", lambda x: True)
    packed.unpack(blocks, FORMATS[name], got)
    assert torch.equal(got, want)


def test_more_than_a_piece_is_unpacked_piece_by_piece(monkeypatch):
    format = FORMATS["Q4_K"]
    blocks = torch.from_numpy(random_blocks(format, count=9))
    whole, pieces = torch.empty(9, 256), torch.empty(9, 256)
    unpack(blocks, format, whole)
    monkeypatch.setattr("wan.files.packed.PIECE", 1024)
    unpack(blocks, format, pieces)
    assert torch.equal(whole, pieces)
