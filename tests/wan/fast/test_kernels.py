"""Every Triton kernel equals its plain-torch twin, run on the CPU by Triton's interpreter; on a GPU, natively."""

import pytest
import torch

from wan.fast.kernels import action, fp8, norm, qkv
from wan.modules.rope import rope_table

pytest.importorskip("triton", reason="Triton is not installed (it exists for Linux only)")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SAME = {"rtol": 2e-5, "atol": 2e-5}  # float32, sums in another order


@pytest.fixture
def twin_and_kernel(monkeypatch):
    """Run a function as plain torch, then with its kernels; tests/conftest.py turned the interpreter on."""

    def both(function):
        results = []
        for kernels in (False, True):
            for module in (norm, qkv, action):
                monkeypatch.setattr(module, "use_triton", lambda x, kernels=kernels: kernels)
            results.append(function())
        return results

    return both


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("added", ["nothing", "y", "gated y"])
@pytest.mark.parametrize("kind", ["modulated", "affine", "both"])
def test_add_norm(twin_and_kernel, frames, added, kind):
    x, y, m = random(2, 6, 40), random(2, 6, 40, seed=1), random(2, frames, 6, 40, seed=2)
    weight, bias = random(40, seed=3), random(40, seed=4)

    def run():
        return norm.add_norm(
            x,
            None if added == "nothing" else y,
            m[:, :, 2] if added == "gated y" else None,  # rows of a larger tensor, as they are in the model
            (m[:, :, 0], m[:, :, 1]) if kind != "affine" else None,
            (weight, bias) if kind != "modulated" else None,
        )

    for want, got in zip(*twin_and_kernel(run), strict=True):
        torch.testing.assert_close(got, want, **SAME)


def test_gated_add(twin_and_kernel):
    want, got = twin_and_kernel(lambda: norm.gated_add(random(2, 6, 40), random(2, 6, 40, seed=1), random(2, 3, 40)))
    torch.testing.assert_close(got, want, **SAME)


@pytest.mark.parametrize("values", [True, False])
def test_norm_rope_place_writes_into_a_cache(twin_and_kernel, values):
    heads, width, tokens = 2, 24, 6
    rope = rope_table(range(3), 1, 2, (8, 8, 8), device=DEVICE)
    projected, weights = random(2, tokens, 3 * heads * width), (random(heads * width), random(heads * width, seed=1))

    def run():
        buffer = torch.full((2, 2, tokens + 4, heads, width), 7.0, device=DEVICE)  # k and v, batch, slots, ...
        place = buffer[0, :, :tokens], buffer[1, :, :tokens] if values else None
        q = qkv.norm_rope_place(projected, weights, rope, heads, place, 1e-6)
        return q, buffer

    for want, got in zip(*twin_and_kernel(run), strict=True):
        torch.testing.assert_close(got, want, **SAME)


def test_rms_norm_heads(twin_and_kernel):
    want, got = twin_and_kernel(lambda: qkv.rms_norm_heads(random(2, 5, 48), random(48, seed=1), 2, 1e-6))
    torch.testing.assert_close(got, want, **SAME)


@pytest.mark.parametrize(
    ("frames", "seen", "window"), [(3, 3, 6), (3, 6, 6), (3, 15, 15), (3, 4, 4), (2, 4, 6), (1, 5, 5)]
)
def test_mouse_attention(twin_and_kernel, frames, seen, window):
    batch, spatial, heads, width = 2, 4, 2, 64
    rope = rope_table(range(frames), 1, 1, (8, 28, 28), 256, DEVICE)
    projected = random(batch, frames * spatial, 3 * heads * width)
    history = random(2, batch * spatial, window, heads, width, seed=5)

    def run():
        keys, values = history.clone()
        slots, past = (keys[:, :frames], values[:, :frames]), (keys[:, frames:seen], values[:, frames:seen])
        return action.mouse_attention(projected, frames, heads, rope, slots, past), keys, values

    for want, got in zip(*twin_and_kernel(run), strict=True):
        torch.testing.assert_close(got, want, **SAME)


@pytest.mark.parametrize(("frames", "seen"), [(3, 3), (3, 6), (3, 15), (2, 4), (1, 5)])
def test_keyboard_attention(twin_and_kernel, frames, seen):
    batch, spatial, heads, width = 2, 7, 2, 64
    rope = rope_table(range(frames), 1, 1, (8, 28, 28), 256, DEVICE)
    q, kv = random(batch, frames * spatial, heads * width), random(batch, frames, 2 * heads * width, seed=1)
    history = random(2, batch, 15, heads, width, seed=5)

    def run():
        keys, values = history.clone()
        slots, all_seen = (keys[:, :frames], values[:, :frames]), (keys[:, :seen], values[:, :seen])
        return action.keyboard_attention(q, kv, heads, rope, slots, all_seen), keys, values

    for want, got in zip(*twin_and_kernel(run), strict=True):
        torch.testing.assert_close(got, want, **SAME)


def test_bias_gelu(twin_and_kernel):
    want, got = twin_and_kernel(lambda: action.bias_gelu(3 * random(2, 6, 40), random(2, 3, 40, seed=1)))
    torch.testing.assert_close(got, want, **SAME)


@pytest.mark.parametrize("gelu", [False, True])
def test_quantised_before_rounding(gelu):
    """Triton's interpreter loses the carry when it rounds up to a power of two, so rows are compared as float32."""
    from wan.fast.kernels.triton_fp8 import quantised

    x = 3 * random(4, 40)
    x[2] = 0
    got, scale = quantised(x, gelu, torch.float32)
    _, want = fp8.quantised(x.cpu(), gelu)
    torch.testing.assert_close(scale.cpu(), want, **SAME)
    exact = torch.nn.functional.gelu(x, approximate="tanh") if gelu else x
    torch.testing.assert_close(got * scale, exact, **SAME)


@pytest.mark.gpu
@pytest.mark.parametrize("gelu", [False, True])
def test_quantised(gelu):
    x = (3 * random(64, 512)).bfloat16()
    want, scale = fp8.quantised(x.cpu(), gelu)
    got, own = fp8.quantised(x, gelu)
    torch.testing.assert_close(own.cpu(), scale, **SAME)
    different = got.cpu().float() != want.float()  # ties, which a last bit of the scale decides
    assert different.float().mean() < 5e-3
    torch.testing.assert_close(got.cpu().float(), want.float(), rtol=1 / 8, atol=2**-8)
