"""`convert`: a file of 8-bit weights that is what --fp8 makes of the model while loading."""

import json
import struct

import pytest
import torch

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
