"""8-bit products: what rounding to e4m3 may cost in a row, in a product, in a whole model, and what it saves."""

import pytest
import torch
from torch import nn

from mgcli.bench.ladder import relative_error
from tests.wan.checkpoints import save_expert, streamed
from tests.wan.tiny_models import block_of, causal_inputs, causal_model, wan_model
from wan.fast.causal import OptimizedCausalWanModel
from wan.fast.engine import Engine
from wan.fast.expert import OptimizedWanModel
from wan.fast.fp8 import Fp8Linear, quantise
from wan.fast.kernels.fp8 import E4M3, quantised
from wan.fast.speed import Speed

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# 3 bits of mantissa are off by 1/16 at most and by 2.6 % in the mean square; two factors of a product by sqrt(2) of that
PRODUCT = 0.04
MODEL = 0.05  # a product's error, a few times over, beside what the residual stream keeps exactly


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.mark.parametrize("gelu", [False, True])
def test_rows_are_rounded_by_their_own_scales(gelu):
    x = random(2, 3, 48) * torch.tensor([1e-3, 1.0, 1e3], device=DEVICE)[:, None]
    exact = (torch.nn.functional.gelu(x, approximate="tanh") if gelu else x).flatten(0, 1)
    rows, scale = quantised(x, gelu)
    assert rows.dtype == E4M3 and rows.shape == (6, 48) and scale.shape == (6, 1)
    # half a step of e4m3: 1/16 of a value, or half the smallest there is
    assert (rows.float() * scale - exact).abs().le(exact.abs() / 16 * 1.0001 + scale * 2**-10 + 1e-7).all()
    assert rows.float().abs().amax(-1).eq(448).all()


def test_a_row_of_zeros_stays_zeros_and_a_broken_one_shows():
    rows, scale = quantised(torch.tensor([[0.0] * 16, [float("nan")] + [1.0] * 15], device=DEVICE))
    assert rows[0].float().eq(0).all() and scale.isfinite()[0] and rows[1].float().isnan().any()


def test_a_product():
    linear = nn.Linear(64, 80).to(DEVICE, torch.bfloat16).requires_grad_(False)
    x = random(2, 5, 64).bfloat16()
    product = Fp8Linear.of(linear)
    assert relative_error(product(x), linear(x)) < PRODUCT
    activated = torch.nn.functional.gelu(x.float(), approximate="tanh").bfloat16()
    assert relative_error(product(x, gelu=True), linear(activated)) < PRODUCT
    assert product(x).shape == (2, 5, 80) and product(x).dtype == torch.bfloat16


def size(model):
    return sum(p.nbytes for p in model.blocks.parameters())


def expert():
    reference = wan_model()
    model = OptimizedWanModel(reference.config).eval().requires_grad_(False)
    model.load_state_dict(reference.state_dict())
    return model


def test_an_expert():
    exact, model = expert(), expert()
    quantise(model)
    x, prompt = random(1, 16, 3, 4, 6).cpu(), [random(7, 24).cpu()]
    want, got = exact(x, 500.0, prompt), model(x, 500.0, prompt)
    assert 1e-4 < relative_error(got, want) < MODEL
    # of 16 dim x dim in float32, cross keys and values stay, and 14 are a quarter
    assert size(model) < 0.45 * size(exact)
    assert {p.dtype for p in model.blocks[0].ffn.parameters()} == {E4M3, torch.float32}


def test_an_expert_may_be_streamed(tmp_path):
    model, x, prompt = expert(), random(1, 16, 3, 4, 6).cpu(), [random(7, 24).cpu()]
    passing = streamed(save_expert(tmp_path, model), Speed(fp8=True).finish(torch.device("cpu")))
    quantise(model)
    assert torch.equal(passing(x, 500.0, prompt), model(x, 500.0, prompt))


@pytest.mark.parametrize("mode", ["universal", "templerun"])
def test_a_causal_model_past_eviction(mode):
    exact, model = (causal_model(mode, cls=OptimizedCausalWanModel) for _ in range(2))
    quantise(model)
    inputs, caches = causal_inputs(mode, 12), [m.new_cache(1, 4, 6) for m in (exact, model)]
    for start in range(0, 12, 3):
        given = block_of(inputs, start, 3)
        want, got = (m(t=500.0, **given, cache=c, start_frame=start) for m, c in zip((exact, model), caches))
        assert 1e-4 < relative_error(got, want) < MODEL
    assert size(model) < size(exact)


@pytest.mark.gpu
def test_graphs_of_a_quantised_model_equal_it_bit_for_bit():
    from tests.wan.fast.test_graphs import play

    engines = []
    for graphs in (False, True):
        model = causal_model(cls=OptimizedCausalWanModel).to("cuda", torch.bfloat16)
        quantise(model)
        engines.append(Engine(model, graphs))
    eager, graphed = (play(engine, "universal", 12) for engine in engines)
    assert torch.equal(eager, graphed)
