"""Files of weights and tokenizers with some of their bytes changed, always the same ones: each is read, or is one sentence."""

import random
import time

import pytest
import torch
from safetensors.torch import save_file

from tests.wan.files.gguf_files import write_gguf
from tests.wan.files.test_tokenizers import train
from tests.wan.tiny_models import wan_model
from wan.files.checkpoint import open_weights
from wan.files.tokenizers import open_tokenizer

TRIES, HEAD = 300, 4000  # changes; bytes of the beginning, which say what the rest is
MOST_SECONDS = 2.0


def weights(path):
    model = open_weights(path)
    scratch = torch.empty(1 << 16, dtype=torch.uint8)
    for name in list(model.parts)[:3]:
        model.read_into(name, torch.empty(model.shape(name)), scratch)


def safetensors(path):
    save_file(wan_model().state_dict(), path)


def torch_zip(path):
    torch.save(wan_model().state_dict(), path)


def gguf(path):
    write_gguf(path, wan_model().state_dict(), lambda name: None)


def index(path):
    save_file(wan_model().state_dict(), path.parent / "all.safetensors")
    names = ", ".join(f'"{name}": "all.safetensors"' for name in wan_model().state_dict())
    path.write_text('{"weight_map": {' + names + "}}")


def pieces(path):
    path.write_bytes(train())


FORMATS = {
    "x.safetensors": (safetensors, weights),
    "x.pth": (torch_zip, weights),
    "x.gguf": (gguf, weights),
    "x.safetensors.index.json": (index, weights),
    "spiece.model": (pieces, open_tokenizer),
}


def changed(content: bytes, rng: random.Random) -> bytes:
    data, at = bytearray(content), rng.randrange(min(len(content), HEAD))
    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(min(len(content), HEAD))] = rng.randrange(256)
    elif kind == 1:
        data[at : at + 8] = rng.choice([b"\xff" * 8, bytes(8), b"9" * 8, (2**62).to_bytes(8, "little")])
    elif kind == 2:
        del data[at : at + rng.randint(1, 64)]
    else:
        del data[at:]
    return bytes(data)


@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes(tmp_path, name):
    write, read = FORMATS[name]
    path, rng, faults = tmp_path / name, random.Random(0), []
    write(path)
    content = path.read_bytes()
    read(path)
    for number in range(TRIES):
        path.write_bytes(changed(content, rng))
        began = time.process_time()
        try:
            read(path)
        except (ValueError, OSError) as error:
            if "\n" in str(error) or str(tmp_path) not in str(error):
                faults.append(f"{number}: {str(error)[:200]!r} is not a sentence that names the file")
        except Exception as error:
            faults.append(f"{number}: {type(error).__name__} {error}"[:200])
        if (seconds := time.process_time() - began) > MOST_SECONDS:
            faults.append(f"{number}: {seconds:.1f} s")
    assert not faults, "\n".join(faults)
