"""8-bit files of every maker, as they are in memory: what they make equals what their numbers make in plain products."""

import json

import pytest
import torch
from safetensors.torch import save_file

from mgcli.bench.ladder import relative_error
from tests.wan.checkpoints import write_config
from tests.wan.files.test_gguf import CONFIG, CPU, F32, inputs, mixed, unpacked, weights_of
from wan.fast import speed
from wan.fast.expert import OptimizedWanModel
from wan.fast.fp8 import Fp8Linear
from wan.fast.held import HeldJoined, HeldLinear
from wan.fast.speed import Speed
from wan.files.checkpoint import load_wan
from wan.modules.model import WanModel

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
PRODUCT = 0.05  # of a model whose products round what comes in to 8 bits: tests/wan/fast/test_fp8.py


def scaled(weight, dtype, rows):
    """8-bit numbers and the scale that makes them the weight again: one, or one a row."""
    top = 127.0 if dtype == torch.int8 else torch.finfo(dtype).max
    peak = weight.abs().amax(1, keepdim=True) if rows else weight.abs().amax()
    scale = peak / top
    bits = (weight / scale).round() if dtype == torch.int8 else weight / scale
    return bits.to(dtype), scale


# dtype, whether a row has a scale of its own, what the scale is called, marks the file carries beside
MAKERS = {
    "ComfyUI, older": (E4M3, False, "scale_weight", {"scaled_fp8": torch.empty(0, dtype=E4M3)}),
    "ComfyUI, older, e5m2": (E5M2, False, "scale_weight", {"scaled_fp8": torch.empty(0, dtype=E5M2)}),
    "ComfyUI, newer": (E4M3, False, "weight_scale", {}),
    "LightX2V fp8": (E4M3, True, "weight_scale", {}),
    "LightX2V int8": (torch.int8, True, "weight_scale", {}),
    "cast, no scales": (E4M3, False, None, {}),
}


def write_8_bit(folder, maker, prefix="", extra=None):
    dtype, rows, called, marks = MAKERS[maker]
    tensors, read = dict(marks), {}
    for name, weight in weights_of(WanModel, CONFIG).items():
        read[name], tensors[prefix + name] = weight, weight
        if mixed(name):
            bits, scale = (weight.to(dtype), None) if called is None else scaled(weight, dtype, rows)
            tensors[prefix + name] = bits
            read[name] = bits.float() if scale is None else bits.float() * scale
            if scale is not None:
                tensors[prefix + name.removesuffix("weight") + called] = scale.clone()
            if called == "scale_weight":
                tensors[prefix + name.removesuffix("weight") + "scale_input"] = torch.ones(1)
            if called == "weight_scale" and not rows:
                note = torch.frombuffer(
                    bytearray(json.dumps({"format": "float8_e4m3fn", **(extra or {})}).encode()), dtype=torch.uint8
                )
                tensors[prefix + name.removesuffix("weight") + "comfy_quant"] = note
    write_config(folder, CONFIG)
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "high.safetensors")
    return read


def load(folder, **how):
    return load_wan(folder / "high.safetensors", cls=OptimizedWanModel, finish=Speed(**how).finish(CPU), **F32)


@pytest.mark.parametrize("maker", MAKERS)
def test_kept_as_it_is_it_runs_as_if_it_had_been_widened(tmp_path, maker):
    read = write_8_bit(tmp_path, maker)
    held, want = load(tmp_path), unpacked(read)
    assert isinstance(held.blocks[0].self_attn.qkv, HeldJoined)
    assert held.blocks[1].ffn[0].weight.dtype == MAKERS[maker][0]
    assert torch.equal(held(*inputs()), want(*inputs()))
    plain = load_wan(tmp_path / "high.safetensors", cls=WanModel, **F32)
    assert all(torch.equal(t, read[n]) for n, t in plain.state_dict().items())


@pytest.fixture
def fp8_card(monkeypatch):
    """A device of 8-bit products; off CUDA they are those of the same numbers."""
    monkeypatch.setattr(speed, "has_fp8_products", lambda device: True)


@pytest.mark.parametrize("maker", ["ComfyUI, older", "ComfyUI, newer", "LightX2V fp8", "cast, no scales"])
def test_a_card_with_8_bit_products_takes_e4m3_as_it_is(tmp_path, maker, fp8_card):
    read = write_8_bit(tmp_path, maker, prefix="model.diffusion_model.")
    held, want = load(tmp_path), unpacked(read)
    assert isinstance(held.blocks[0].self_attn.qkv, Fp8Linear) and isinstance(held.blocks[0].ffn[2], Fp8Linear)
    assert isinstance(held.blocks[0].cross_attn.k, HeldLinear)  # computed once a prompt
    state = held.state_dict()
    for name in ("blocks.0.self_attn.k", "blocks.1.ffn.0"):
        numbers = state[f"{name}.weight"].float() * state[f"{name}.weight_scale"].view(-1, 1)
        torch.testing.assert_close(numbers, read[f"{name}.weight"], rtol=1e-6, atol=0)
    assert 1e-5 < relative_error(held(*inputs()), want(*inputs())) < PRODUCT


@pytest.mark.parametrize("maker", ["LightX2V int8", "ComfyUI, older, e5m2"])
def test_what_is_no_e4m3_runs_in_plain_products_there_too(tmp_path, maker, fp8_card):
    read = write_8_bit(tmp_path, maker)
    assert torch.equal(load(tmp_path)(*inputs()), unpacked(read)(*inputs()))


@pytest.mark.parametrize("said", ["older", "newer"])
def test_a_file_may_ask_for_products_in_wider_numbers(tmp_path, said, fp8_card, monkeypatch):
    monkeypatch.setitem(
        MAKERS, "ComfyUI, older", (E4M3, False, "scale_weight", {"scaled_fp8": torch.empty(2, dtype=E4M3)})
    )
    read = write_8_bit(tmp_path, f"ComfyUI, {said}", extra={"full_precision_matrix_mult": True})
    assert torch.equal(load(tmp_path)(*inputs()), unpacked(read)(*inputs()))


def test_the_plain_model_is_asked_for_and_widens(tmp_path, fp8_card):
    read = write_8_bit(tmp_path, "LightX2V fp8")
    model = load(tmp_path, reference=True)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.blocks[0].ffn[0].weight, read["blocks.0.ffn.0.weight"])


def test_four_bit_floats_say_what_to_take_instead(tmp_path):
    write_8_bit(tmp_path, "ComfyUI, newer")
    save_file(
        {"blocks.0.ffn.0.weight_scale_2": torch.ones(1), **weights_of(WanModel, CONFIG)},
        tmp_path / "high.safetensors",
    )
    with pytest.raises(ValueError, match="nvfp4.*take an fp8_scaled or a GGUF file"):
        load(tmp_path)


def test_saved_as_it_is_it_opens_again_as_it_was(tmp_path, fp8_card):
    write_8_bit(tmp_path, "LightX2V fp8")
    first = load(tmp_path)
    want = first(*inputs())
    save_file({n: t.contiguous().clone() for n, t in first.state_dict().items()}, tmp_path / "high.safetensors")
    assert torch.equal(load(tmp_path)(*inputs()), want)
