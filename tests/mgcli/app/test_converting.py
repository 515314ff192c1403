"""`convert`: a file of 8-bit weights that is what --fp8 makes of the model while loading."""

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from mgcli.app.errors import run
from mgcli.mg import app
from tests.tiny_checkpoints import write_model
from tests.wan.tiny_models import causal_config, wan_model
from wan.fast import speed
from wan.fast.causal import OptimizedCausalWanModel
from wan.fast.expert import OptimizedWanModel
from wan.fast.speed import Speed
from wan.files.checkpoint import load_causal, load_wan, open_weights
from wan.modules.causal_model import CausalWanModel
from wan.modules.model import WanModel

CPU = torch.device("cpu")


@pytest.fixture
def mg(capsys):
    def call(*arguments):
        code = run(app, [*arguments, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out), err

    return call


@pytest.fixture
def fp8_card(monkeypatch):
    monkeypatch.setattr(speed, "has_fp8_products", lambda device: True)


def as_loaded(load, path, cls, **speeds):
    made = load(path, device="cpu", dtype=torch.bfloat16, cls=cls, finish=Speed(**speeds).finish(CPU))
    return (made[0] if isinstance(made, tuple) else made).state_dict()


@pytest.mark.parametrize("kind", ["expert", "world"])
def test_the_file_holds_what_fp8_makes_while_loading(mg, tmp_path, kind, fp8_card):
    if kind == "expert":
        write_model(tmp_path / "model", WanModel, wan_model().config, 0)
        load, cls = load_wan, OptimizedWanModel
    else:
        write_model(tmp_path / "model", CausalWanModel, causal_config("universal"), 0)
        load, cls = load_causal, OptimizedCausalWanModel
    out = tmp_path / "eight.safetensors"
    code, data, err = mg("convert", str(tmp_path / "model"), "-o", str(out), "--device", "cpu")
    assert code == 0, err
    assert data["bytes"] == out.stat().st_size
    want = as_loaded(load, tmp_path / "model", cls, fp8=True)
    got = as_loaded(load, out, cls)
    assert want.keys() == got.keys()
    for name, tensor in want.items():
        assert got[name].dtype == tensor.dtype and torch.equal(got[name].float(), tensor.float()), name
    assert (
        json.loads((tmp_path / "config.json").read_text())["dim"]
        == open_weights(out).shape("patch_embedding.weight")[0]
    )


def test_scales_lie_as_other_programs_have_them(mg, tmp_path):
    write_model(tmp_path / "model", WanModel, wan_model().config, 0)
    out = tmp_path / "eight.safetensors"
    assert mg("convert", str(tmp_path / "model"), "-o", str(out), "--device", "cpu")[0] == 0
    raw = out.read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    weight, scale = (header[f"blocks.0.self_attn.q.{kind}"] for kind in ("weight", "weight_scale"))
    assert weight["dtype"] == "F8_E4M3" and scale == scale | {"dtype": "F32", "shape": [weight["shape"][0], 1]}


@pytest.mark.parametrize("stored", ["GGUF", "8 bits"])
def test_what_is_packed_already_is_unpacked_and_made_anew(mg, tmp_path, stored, fp8_card):
    if stored == "GGUF":
        pytest.importorskip("gguf")
        from tests.wan.files.test_gguf import write_expert

        source = tmp_path / "model" / "high.gguf"
        write_expert(source)
    else:
        from tests.wan.files.test_kept_8_bit import write_8_bit

        (tmp_path / "model").mkdir()
        write_8_bit(tmp_path / "model", "LightX2V int8")
        source = tmp_path / "model" / "high.safetensors"
    out = tmp_path / "eight.safetensors"
    assert mg("convert", str(source), "-o", str(out), "--device", "cpu")[0] == 0
    want = as_loaded(load_wan, source, OptimizedWanModel, fp8=True)
    got = as_loaded(load_wan, out, OptimizedWanModel)
    products = [name for name in got if got[name].dtype == torch.float8_e4m3fn]
    assert len(products) == 2 * 8  # of each layer: q, k, v, o, q and o of the text, two of the feed-forward
    assert all(torch.equal(got[name].float(), want[name].float()) for name in products)


def test_a_file_that_lacks_tensors_is_said_and_nothing_is_left(mg, tmp_path):
    write_model(tmp_path / "model", WanModel, wan_model().config, 0)
    [source] = (tmp_path / "model").glob("*.safetensors")
    tensors = load_file(source)
    del tensors["blocks.0.ffn.0.bias"]
    save_file(tensors, source)
    code, data, _ = mg("convert", str(source), "-o", str(tmp_path / "x.safetensors"))
    assert code == 2 and "1 missing (blocks.0.ffn.0.bias)" in data["error"]
    code, data, _ = mg("convert", str(source), "-o", str(source), "--overwrite")
    assert code == 2 and "is the model itself" in data["error"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_refused_before_anything_is_read(mg, tmp_path):
    write_model(tmp_path / "model", WanModel, wan_model().config, 0)
    there = tmp_path / "there.safetensors"
    there.write_text("x")
    for output, said in (
        (there, "--overwrite"),
        (tmp_path / "x.bin", "--output"),
        (tmp_path / "no" / "x.safetensors", "--output"),
    ):
        code, data, _ = mg("convert", str(tmp_path / "model"), "-o", str(output))
        assert code == 2 and said in data["error"], data
    write_model(tmp_path / "vae", *_vae())
    code, data, _ = mg("convert", str(tmp_path / "vae"), "-o", str(tmp_path / "x.safetensors"))
    assert code == 2 and "holds a video VAE" in data["error"]
    assert there.read_text() == "x" and not list(tmp_path.glob(".*.part"))


def _vae():
    from tests.tiny_checkpoints import TINY_VAE
    from wan.modules.vae import WanVAE

    return WanVAE, TINY_VAE, 0
