"""The optimized causal model equals the reference, call by call: modes, windows, batches, both kinds of cache."""

import pytest
import torch

from tests.wan.modules.test_causal_model import official_dicts
from tests.wan.tiny_models import block_of, causal_inputs, causal_model
from wan.fast.causal import OptimizedCausalWanModel
from wan.modules.causal_model import CausalWanModel

SAME = {"rtol": 1e-4, "atol": 2e-5}  # float32, the same sums in another order


def pair(mode="universal", window=6):
    reference = causal_model(mode, window)
    fast = OptimizedCausalWanModel(reference.config).eval().requires_grad_(False)
    fast.load_state_dict(reference.state_dict())
    return reference, fast


@pytest.mark.parametrize("mode", ["universal", "gta_drive", "templerun"])
@pytest.mark.parametrize(("window", "block"), [(6, 3), (4, 3), (15, 3), (6, 2)])
@pytest.mark.parametrize("batch", [1, 2])
def test_equal_over_blocks_past_eviction(mode, window, block, batch):
    reference, fast = pair(mode, window)
    frames = block * (window // block + 3)
    inputs = causal_inputs(mode, frames, batch)
    ours, theirs = fast.new_cache(batch, 4, 6, block), reference.new_cache(batch, 4, 6, block)
    for start in range(0, frames, block):
        given = block_of(inputs, start, block)
        for t in (torch.rand(batch, block) * 1000, 713.9794, 0):
            want = reference(t=t, **given, cache=theirs, start_frame=start)
            torch.testing.assert_close(fast(t=t, **given, cache=ours, start_frame=start), want, **SAME)


def test_official_call_is_unchanged():
    reference, fast = pair()
    inputs = causal_inputs("universal", 12)
    ours, theirs = official_dicts(fast, 6), official_dicts(reference, 6)
    for start in range(0, 12, 3):
        given = block_of(inputs, start, 3) | {"t": torch.full((1, 3), 500.0), "current_start": start * 6}
        torch.testing.assert_close(fast(**given, **ours), reference(**given, **theirs), **SAME)
    for name in ("kv_cache", "kv_cache_mouse", "kv_cache_keyboard"):
        for mine, other in zip(ours[name], theirs[name], strict=True):
            torch.testing.assert_close(mine, other, **SAME)


def test_without_a_cache_it_is_the_reference():
    reference, fast = pair()
    inputs, t = causal_inputs("universal", 6), torch.rand(1, 6)
    assert torch.equal(fast(t=t, **inputs), reference(t=t, **inputs))


def test_new_actions_and_images_are_noticed():
    reference, fast = pair()
    ours, theirs = fast.new_cache(1, 4, 6), reference.new_cache(1, 4, 6)
    for seed in (1, 2):
        given = causal_inputs("universal", 3, seed=seed)
        for cache in (ours, theirs):
            cache.reset()
        want = reference(t=500, **given, cache=theirs)
        torch.testing.assert_close(fast(t=500, **given, cache=ours), want, **SAME)
        given["mouse_cond"].mul_(-1)  # the same tensor with other contents
        want = reference(t=500, **given, cache=theirs)
        torch.testing.assert_close(fast(t=500, **given, cache=ours), want, **SAME)


def test_joined_weights_are_parameters_with_official_names_in_files():
    reference, fast = pair()
    assert sum(p.numel() for p in fast.parameters()) == sum(p.numel() for p in reference.parameters())
    state = fast.state_dict()
    assert state.keys() == reference.state_dict().keys()
    for name, p in reference.state_dict().items():
        assert torch.equal(state[name], p), name
    state["blocks.0.self_attn.k.weight"].zero_()  # a view: what is read into it is in the model
    assert fast.blocks[0].self_attn.qkv.weight[48:96].eq(0).all()
    again = CausalWanModel(reference.config)
    again.load_state_dict(fast.state_dict())  # and back
    del state["blocks.0.self_attn.k.weight"]
    with pytest.raises(RuntimeError, match="qkv.weight"):
        fast.load_state_dict(state)


def test_new_weights_and_dtypes_are_noticed():
    reference, fast = pair()
    given = causal_inputs("universal", 3)
    fast(t=500, **given, cache=fast.new_cache(1, 4, 6))
    other = causal_model(seed=5)
    fast.load_state_dict(other.state_dict())
    want = other(t=500, **given, cache=other.new_cache(1, 4, 6))
    torch.testing.assert_close(fast(t=500, **given, cache=fast.new_cache(1, 4, 6)), want, **SAME)
    half = fast.to(torch.bfloat16)
    got = half(t=500, **given, cache=half.new_cache(1, 4, 6)).float()
    assert got.sub(want).abs().mean() / want.abs().mean() < 0.03  # bf16 has 8 bits: 0.4 % an operation


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["universal", "gta_drive", "templerun"])
@pytest.mark.parametrize(("window", "batch"), [(6, 1), (6, 2), (4, 1), (15, 1)])
def test_equal_on_the_gpu_with_its_kernels(mode, window, batch, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # the reference embeds patches by a convolution
    reference, fast = (m.to("cuda") for m in pair(mode, window))
    frames = 3 * (window // 3 + 3)
    inputs = {k: v if v is None else v.to("cuda") for k, v in causal_inputs(mode, frames, batch).items()}
    ours, theirs = fast.new_cache(batch, 4, 6, 3), reference.new_cache(batch, 4, 6, 3)
    for start in range(0, frames, 3):
        given = block_of(inputs, start, 3)
        for t in (1000.0, 0.0):
            want = reference(t=t, **given, cache=theirs, start_frame=start)
            torch.testing.assert_close(fast(t=t, **given, cache=ours, start_frame=start), want, **SAME)
