"""Which models are built for which flags, and that contradictions are errors."""

import pytest
import torch

from tests.wan.tiny_models import causal_inputs, causal_model, wan_model
from wan.fast import speed
from wan.fast.causal import OptimizedCausalWanModel
from wan.fast.expert import OptimizedWanModel
from wan.fast.fp8 import Fp8Linear
from wan.fast.speed import Speed
from wan.modules.causal_model import CausalWanModel
from wan.refusal import Refusal

CPU = torch.device("cpu")


def test_the_fast_path_is_the_default():
    assert Speed().causal_class is OptimizedCausalWanModel and Speed().wan_class is OptimizedWanModel
    assert Speed(reference=True).causal_class is CausalWanModel
    assert Speed(compile=True).causal_class is CausalWanModel


def test_contradictions_are_errors():
    with pytest.raises(ValueError, match="graphs need a CUDA GPU"):
        Speed(graphs=True).check(CPU)
    with pytest.raises(Refusal, match="graphs are of the optimized model") as error:
        Speed(graphs=True, reference=True).check(torch.device("cuda"))
    assert error.value.settings == ("graphs", "reference")
    with pytest.raises(ValueError, match="'cudnn' does not work here"):
        Speed(attention="cudnn").check(CPU)
    Speed().check(CPU)


def test_a_gpu_without_triton_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(speed, "find_spec", lambda name: None)
    monkeypatch.setattr(speed, "use_backend", lambda name, device: name)
    with pytest.raises(Refusal, match="needs Triton.*on Windows: pip install triton-windows") as error:
        Speed().check(torch.device("cuda"))
    assert error.value.settings == ("reference",)
    Speed(reference=True).check(torch.device("cuda"))
    Speed().check(CPU)


def test_fp8_is_refused_where_it_would_not_happen(monkeypatch):
    for plain in ("reference", "compile"):
        with pytest.raises(Refusal, match="8-bit floats are of the optimized model") as error:
            Speed(fp8=True, **{plain: True}).check(torch.device("cuda"))
        assert error.value.settings == ("fp8", plain)
    with pytest.raises(ValueError, match="8-bit floats need a CUDA GPU, this run is on cpu"):
        Speed(fp8=True).check(CPU)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    with pytest.raises(ValueError, match="compute capability 8.9, this one has 8.6"):
        Speed(fp8=True).check(torch.device("cuda"))


def test_fp8_is_what_finishing_a_model_does():
    causal, expert = causal_model(cls=OptimizedCausalWanModel), OptimizedWanModel(wan_model().config)
    Speed(fp8=True).engine(causal)
    Speed(fp8=True).finish_wan(expert)
    for model in (causal, expert):
        assert isinstance(model.blocks[0].self_attn.qkv, Fp8Linear)


@pytest.mark.slow  # a compilation takes half a minute on a CPU
def test_compiled_layers_are_equal():
    model, given = causal_model(), causal_inputs("universal", 3)
    want = model(t=500.0, **given, cache=model.new_cache(1, 4, 6))
    Speed(compile=True).engine(model)
    torch.testing.assert_close(model(t=500.0, **given, cache=model.new_cache(1, 4, 6)), want, rtol=1e-4, atol=2e-5)
    wan = wan_model()
    x, prompt = torch.randn(1, 16, 2, 4, 6), [torch.randn(5, 24)]
    want = wan(x, 500.0, prompt)
    Speed(compile=True).finish_wan(wan)
    torch.testing.assert_close(wan(x, 500.0, prompt), want, rtol=1e-4, atol=2e-5)
