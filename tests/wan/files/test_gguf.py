"""GGUF files: written by the `gguf` package, read here; what is kept packed runs as if it had been unpacked."""

import struct

import numpy as np
import pytest
import torch

from tests.wan.checkpoints import streamed, write_config
from wan.config import T5Config, WanConfig
from wan.fast.expert import OptimizedWanModel
from wan.fast.held import HeldJoined, HeldLinear, hold_text_encoder
from wan.fast.speed import Speed
from wan.files.checkpoint import load_t5, load_wan, open_weights
from wan.files.gguf import gguf_facts
from wan.files.packed import FORMATS
from wan.files.weights import Finish
from wan.modules.model import WanModel
from wan.modules.t5 import T5Encoder

pytest.importorskip("gguf")
from tests.wan.files.gguf_files import write_gguf

CPU = torch.device("cpu")
F32 = {"device": "cpu", "dtype": torch.float32}
CONFIG = WanConfig(
    dim=256, ffn_dim=512, freq_dim=32, num_heads=2, num_layers=2, text_len=12, text_dim=32, in_dim=16, out_dim=16
)
TEXT = T5Config(vocab=40, dim=256, dim_attn=256, dim_ffn=512, num_heads=4, num_layers=2)
LLAMA = (
    ("token_embedding.", "token_embd."), ("norm.", "enc.output_norm."), ("blocks.", "enc.blk."),
    (".pos_embedding.embedding.", ".attn_rel_b."), (".norm1.", ".attn_norm."), (".norm2.", ".ffn_norm."),
    (".attn.q.", ".attn_q."), (".attn.k.", ".attn_k."), (".attn.v.", ".attn_v."), (".attn.o.", ".attn_o."),
    (".ffn.gate.0.", ".ffn_gate."), (".ffn.fc1.", ".ffn_up."), (".ffn.fc2.", ".ffn_down."),
)  # fmt: skip


def weights_of(cls, config, seed=0):
    torch.manual_seed(seed)
    return {name: torch.randn_like(t) * 0.05 for name, t in cls(config).state_dict().items()}


def mixed(name):
    """As the files of size M are: what matters most in a finer format."""
    if not name.startswith("blocks.") or not name.endswith(".weight") or "norm" in name:
        return None
    return "Q6_K" if ".v." in name else "Q8_0" if "ffn.2" in name else "Q4_K"


def write_expert(path, formats=mixed):
    path.parent.mkdir(exist_ok=True)
    write_config(path.parent, CONFIG)
    return write_gguf(path, weights_of(WanModel, CONFIG), formats)


def inputs():
    torch.manual_seed(1)
    return torch.randn(1, 16, 3, 4, 6), 500.0, [torch.randn(7, 32)]


def unpacked(read, dtype=torch.float32):
    model = OptimizedWanModel(CONFIG).to(dtype).eval().requires_grad_(False)
    model.load_state_dict({name: t.view(model.state_dict()[name].shape) for name, t in read.items()})
    return model


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_an_expert(tmp_path, name):
    read = write_expert(tmp_path / "high.gguf", lambda n: name if mixed(n) else None)
    model = load_wan(tmp_path / "high.gguf", cls=WanModel, **F32)
    for key, value in model.state_dict().items():
        assert torch.equal(value, read[key].view(value.shape)), key


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_packed_it_runs_as_if_it_had_been_unpacked_to_the_bit(tmp_path, dtype):
    read = write_expert(tmp_path / "high.gguf")
    held = load_wan(
        tmp_path / "high.gguf", device="cpu", dtype=dtype, cls=OptimizedWanModel, finish=Speed().finish(CPU)
    )
    want = unpacked(read, dtype)
    assert isinstance(held.blocks[0].self_attn.qkv, HeldJoined) and isinstance(held.blocks[0].ffn[0], HeldLinear)
    assert torch.equal(held(*inputs()), want(*inputs()))
    packed, whole = (sum(p.nbytes for p in m.blocks.parameters()) for m in (held, want))
    assert packed < 0.25 * whole if dtype == torch.float32 else packed < 0.5 * whole


def test_kept_packed_it_is_streamed_packed(tmp_path):
    write_expert(tmp_path / "high.gguf")
    finish = Speed().finish(CPU)
    want = load_wan(tmp_path / "high.gguf", cls=OptimizedWanModel, finish=finish, **F32)(*inputs())
    model = streamed(tmp_path / "high.gguf", finish)
    assert torch.equal(model(*inputs()), want)
    assert {p.dtype for p in model.blocks[0].self_attn.qkv.parameters()} == {torch.uint8, torch.float32}


def test_fp8_of_a_packed_file_is_that_of_the_unpacked(tmp_path):
    from wan.fast.fp8 import quantise

    read = write_expert(tmp_path / "high.gguf")
    finish = Speed(fp8=True).finish(CPU)
    held = load_wan(tmp_path / "high.gguf", cls=OptimizedWanModel, finish=finish, **F32)
    want = unpacked(read)
    quantise(want)
    assert torch.equal(held(*inputs()), want(*inputs()))


def test_a_shape_that_was_flattened_is_the_one_it_was(tmp_path):
    tensors = weights_of(WanModel, CONFIG)
    name = "patch_embedding.weight"
    shape, tensors[name] = tensors[name].shape, tensors[name].flatten()
    write_config(tmp_path, CONFIG)
    facts = {f"comfy.gguf.orig_shape.{name}": list(shape)}
    write_gguf(tmp_path / "high.gguf", tensors, lambda n: None, facts=facts)
    assert open_weights(tmp_path / "high.gguf").shape(name) == tuple(shape)


def test_plain_numbers_and_a_prefix(tmp_path):
    tensors = {f"model.diffusion_model.{n}": t.half() for n, t in weights_of(WanModel, CONFIG).items()}
    write_config(tmp_path, CONFIG)
    read = write_gguf(tmp_path / "low.gguf", tensors, lambda n: None)
    model = load_wan(tmp_path / "low.gguf", **F32)
    assert all(torch.equal(t, read[f"model.diffusion_model.{n}"]) for n, t in model.state_dict().items())


# --- text encoder -----------------------------------------------------------------------------------------------------


def llama(name):
    for ours, theirs in LLAMA:
        name = theirs + name.removeprefix(ours) if name.startswith(ours) else name.replace(ours, theirs)
    return name


def test_a_text_encoder_under_llamas_names(tmp_path):
    write_config(tmp_path, TEXT)
    tensors = {llama(n): t for n, t in weights_of(T5Encoder, TEXT).items()}
    big = ("token_embd.weight", *(f"attn_{n}.weight" for n in "qkvo"), "ffn_gate.weight", "ffn_up.weight")
    facts = {"tokenizer.ggml.tokens": ["<pad>", "</s>", "<unk>"]}
    read = write_gguf(tmp_path / "t5.gguf", tensors, lambda n: "Q5_K" if n.endswith(big) else None, "t5encoder", facts)
    held = load_t5(tmp_path / "t5.gguf", finish=Finish(hold_text_encoder), **F32)
    want = T5Encoder(TEXT).eval()
    want.load_state_dict({n: read[llama(n)] for n in want.state_dict()})
    ids, mask = torch.tensor([[5, 7, 1, 0]]), torch.tensor([[1, 1, 1, 0]])
    assert torch.equal(held(ids, mask), want(ids, mask))
    assert held.token_embedding.weight.dtype == torch.uint8
    assert gguf_facts(tmp_path / "t5.gguf")["tokenizer.ggml.tokens"] == ["<pad>", "</s>", "<unk>"]


# --- damaged ----------------------------------------------------------------------------------------------------------


def string(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def tensor(name="a", shape=(32,), kind=0, offset=0):
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ONE = (tensor(),)


def gguf(facts=(), tensors=ONE, data=bytes(128), version=3, counts=None):
    header = b"GGUF" + struct.pack("<IQQ", version, *(counts or (len(tensors), len(facts))))
    header += b"".join(facts) + b"".join(tensors)
    return header + bytes(-len(header) % 32) + data


def fact(name, kind, raw):
    return string(name) + struct.pack("<I", kind) + raw


DAMAGED = {
    "nothing after the sign": (b"GGUF" + bytes(40), "version 0"),
    "cut in its header": (gguf()[:40], "ends inside its header"),
    "cut in its data": (gguf(data=bytes(64)), "ends before a does; the download is incomplete"),
    "the first version": (gguf(version=1), "GGUF version 1"),
    "of the other byte order": (gguf(version=3 << 24), "GGUF version 50331648"),
    "10^15 tensors": (gguf(counts=(10**15, 0)), "1000000000000000 tensors"),
    "10^15 facts": (gguf(counts=(1, 10**15)), "1000000000000000 facts"),
    "more tensors than it has": (gguf(counts=(4000, 0)), "damaged header|ends inside its header"),
    "a name without an end": (gguf(tensors=[struct.pack("<Q", 1 << 60)]), "letters in one name"),
    "a fact of an unknown type": (gguf([fact("x", 77, b"")]), "unknown type 77"),
    "a list of an unknown type": (gguf([fact("x", 9, struct.pack("<IQ", 55, 1))]), "unknown type 55"),
    "a list of 2^60": (gguf([fact("x", 9, struct.pack("<IQ", 4, 1 << 60))]), "entries in a list"),
    "a list that ends early": (gguf([fact("x", 9, struct.pack("<IQ", 4, 1 << 20))]), "ends inside its header"),
    "lists in lists in lists": (gguf([fact("x", 9, struct.pack("<IQ", 9, 1) * 9)]), "unknown type 9"),
    "no axes": (gguf(tensors=[tensor(shape=())]), "0 axes"),
    "ninety axes": (gguf(tensors=[tensor(shape=(1,) * 90)]), "90 axes"),
    "an unknown type": (gguf(tensors=[tensor(kind=99)]), "the unknown type 99, which is not read here; take a Q4_K_M"),
    "a type nobody uses for video": (gguf(tensors=[tensor(kind=16)]), "IQ2_XXS, which is not read here"),
    "rows that are no blocks": (gguf(tensors=[tensor(shape=(33, 2), kind=8)]), "rows of 33"),
    "a place outside": (gguf(tensors=[tensor(offset=1 << 50)]), "ends before a does"),
    "a name twice": (gguf(tensors=[tensor(), tensor()]), "a twice"),
    "an alignment of 3": (gguf([fact("general.alignment", 4, struct.pack("<I", 3))]), "an alignment of 3"),
    "an alignment of 0": (gguf([fact("general.alignment", 4, struct.pack("<I", 0))]), "an alignment of 0"),
    "an alignment that is a word": (gguf([fact("general.alignment", 8, string("x"))]), "an alignment of x"),
    "another shape than it was": (
        gguf([fact("comfy.gguf.orig_shape.a", 9, struct.pack("<IQii", 5, 2, 5, 5))]), r"a is \(32,\) and was \[5, 5\]"
    ),
    "a shape that is no list": (gguf([fact("comfy.gguf.orig_shape.a", 8, string("abc"))]), "and was abc"),
    "no tensors": (gguf(tensors=[]), "holds no model known here"),
    "another model": (gguf(), "holds no model known here"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged(tmp_path, kind):
    content, message = DAMAGED[kind]
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_weights(tmp_path / "x.gguf")
    assert "x.gguf" in str(caught.value) and "\n" not in str(caught.value)


def test_any_bytes_end_in_a_sentence_or_in_tensors(tmp_path):
    write_expert(tmp_path / "high.gguf", lambda n: "Q4_0" if mixed(n) else None)
    whole = np.frombuffer((tmp_path / "high.gguf").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = whole.copy()
        places = rng.integers(0, 6000, rng.integers(1, 6))
        broken[places] = rng.integers(0, 256, len(places))
        (tmp_path / "x.gguf").write_bytes(broken[: rng.integers(20, len(broken))].tobytes())
        try:
            open_weights(tmp_path / "x.gguf")
        except ValueError as error:
            assert "x.gguf" in str(error)
