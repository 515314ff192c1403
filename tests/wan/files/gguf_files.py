"""GGUF files of tiny models, written by the `gguf` package: what the tests open is nobody's idea of the format but its own."""

import numpy as np
import pytest
import torch

from wan.files.packed import FORMATS

pytest.importorskip("gguf")
from gguf import GGMLQuantizationType, GGUFWriter, quants

PLAIN = {torch.float32: GGMLQuantizationType.F32, torch.float16: GGMLQuantizationType.F16}


def pack(tensor, name, seed=0):
    """Rows in a packed format, and the numbers they stand for, as the package sees them."""
    kind, format = GGMLQuantizationType[name], FORMATS[name]
    try:
        blocks = quants.quantize(tensor.float().numpy(), kind)
    except NotImplementedError:  # the package only reads the K and IQ formats: any bytes with small factors will do
        rng = np.random.default_rng(seed)
        rows, columns = tensor.shape
        blocks = rng.integers(0, 256, (rows * columns // format.elements, format.size), dtype=np.uint8)
        for place in (format.d, format.dmin):
            if place is not None:
                blocks[:, place : place + 2] = (
                    (rng.normal(size=(len(blocks), 1)) * 1e-4).astype(np.float16).view(np.uint8)
                )
        blocks = blocks.reshape(rows, -1)
    return blocks, torch.from_numpy(quants.dequantize(blocks, kind).astype(np.float32))


def write_gguf(path, tensors, formats, architecture="wan", facts=None):
    """Tensors in the format that `formats(name)` says, None for plain numbers. Returns what a reader must make of them."""
    writer, read = GGUFWriter(path, architecture), {}
    for key, value in (facts or {}).items():
        writer.add_array(key, value) if isinstance(value, list) else writer.add_string(key, value)
    for i, (name, tensor) in enumerate(tensors.items()):
        format = formats(name)
        if format is None:
            writer.add_tensor(name, tensor.contiguous().numpy(), raw_dtype=PLAIN[tensor.dtype])
            read[name] = tensor.float()
        else:
            blocks, read[name] = pack(tensor, format, seed=i)
            writer.add_tensor(name, blocks, raw_dtype=GGMLQuantizationType[format])
    finish(writer)
    return read


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
