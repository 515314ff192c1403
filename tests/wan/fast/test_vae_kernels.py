"""The VAE's Triton kernels equal their plain-torch twins; on a CPU in Triton's interpreter, on a GPU natively."""

import pytest
import torch

from tests.wan.fast.test_kernels import DEVICE, SAME, random
from tests.wan.modules.test_vae import SMALL, random_vae
from wan.fast.kernels import vae
from wan.fast.kernels.vae import Sum
from wan.fast.vae import OptimizedVAEDecoder


@pytest.fixture
def twin_and_kernel(monkeypatch):
    pytest.importorskip("triton", reason="Triton is not installed (it exists for Linux only)")

    def both(function):
        results = []
        for kernels in (False, True):
            monkeypatch.setattr(vae, "use_triton", lambda x, kernels=kernels: kernels)
            results.append(function())
        return results

    return both


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("terms", ["x", "x + bias", "x + y + bias"])
@pytest.mark.parametrize("norm", [False, True])
def test_lay_frames(twin_and_kernel, frames, terms, norm):
    shape = (2, frames, 9, 15, 40)
    x, y, bias = random(*shape), random(*shape, seed=1), random(40, seed=2)
    gamma = random(40, seed=3) if norm else None

    def run():
        past = random(2, 2, *shape[2:], seed=4)
        given = Sum(x, y if "y" in terms else None, bias if "bias" in terms else None)
        kept, out = vae.lay_frames(given, gamma, past, keep="y" in terms)
        return (out, past, kept) if "y" in terms else (out, past)

    for want, got in zip(*twin_and_kernel(run), strict=True):
        torch.testing.assert_close(got, want, **SAME)


def test_add(twin_and_kernel):
    x, y, bias = random(2, 3, 4, 5, 24), random(2, 3, 4, 5, 24, seed=1), random(24, seed=2)
    for terms in (Sum(x), Sum(x, y), Sum(x, None, bias), Sum(x, y, bias)):
        want, got = twin_and_kernel(lambda terms=terms: vae.add(terms))
        torch.testing.assert_close(got, want, **SAME)


def test_a_stream_with_kernels(twin_and_kernel):
    decoder = OptimizedVAEDecoder(random_vae(SMALL).to(DEVICE), chunk=2)
    latents = random(1, 16, 5, 2, 2)
    want, got = twin_and_kernel(lambda: decoder.decode(latents))
    # some 30 layers of differences as above
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
