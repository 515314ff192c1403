"""The causal model against itself: with caches = without, any window, block size and batch; official calls unchanged."""

import pytest
import torch

from tests.wan.tiny_models import block_of, causal_inputs, causal_model
from wan.modules.action import tail_frames
from wan.modules.causal_model import CausalWanModel

SAME = {"rtol": 1e-4, "atol": 2e-5}  # float32, attention over the same keys in another order


def run_blocks(model, inputs, t, block, cache):
    flows = []
    for start in range(0, inputs["x"].shape[2], block):
        given = block_of(inputs, start, block)
        flows.append(model(t=t[:, start : start + block], **given, cache=cache, start_frame=start))
    return torch.cat(flows, dim=2)


@pytest.mark.parametrize("mode", ["universal", "gta_drive", "templerun"])
@pytest.mark.parametrize(("window", "block"), [(6, 3), (4, 3), (9, 3), (15, 3), (6, 2), (3, 3), (5, 1), (4, 4)])
def test_cached_equals_uncached_past_eviction(mode, window, block):
    model = causal_model(mode, window)
    model.num_frame_per_block = block
    frames = block * (window // block + 4)
    inputs = causal_inputs(mode, frames)
    t = torch.rand(1, frames) * 1000
    whole = model(t=t, **inputs)
    cached = run_blocks(model, inputs, t, block, model.new_cache(1, 4, 6))
    torch.testing.assert_close(cached, whole, **SAME)


def test_a_block_sees_the_window_and_no_further():
    model = causal_model(window=6)
    inputs = causal_inputs("universal", 21)
    t = torch.zeros(1, 21)
    before = model(t=t, **inputs)
    inputs["x"][:, :, 0] += 1
    # three layers attend over time, two of them once more for the mouse: each reaches one block back, so 6 is beyond
    after = model(t=t, **inputs)
    assert not torch.equal(before[:, :, 3:6], after[:, :, 3:6])
    assert torch.equal(before[:, :, 18:], after[:, :, 18:])


def test_batch_rows_do_not_meet():
    model = causal_model()
    inputs, t = causal_inputs("universal", 9, batch=2), torch.rand(2, 9) * 1000
    together = run_blocks(model, inputs, t, 3, model.new_cache(2, 4, 6))
    for row in range(2):
        alone = {k: v[row : row + 1] for k, v in inputs.items()}
        one = run_blocks(model, alone, t[row : row + 1], 3, model.new_cache(1, 4, 6))
        torch.testing.assert_close(together[row : row + 1], one, **SAME)


def test_denoising_steps_of_a_block_overwrite_each_other():
    model = causal_model()
    inputs = causal_inputs("universal", 6)
    t = torch.full((1, 3), 500.0)
    noisy = block_of(inputs, 0, 3) | {"x": torch.randn(1, 16, 3, 4, 6)}
    cache = model.new_cache(1, 4, 6)
    model(t=t, **noisy, cache=cache, start_frame=0)
    model(t=t, **block_of(inputs, 0, 3), cache=cache, start_frame=0)
    second = model(t=t, **block_of(inputs, 3, 3), cache=cache, start_frame=3)
    clean = model.new_cache(1, 4, 6)
    model(t=t, **block_of(inputs, 0, 3), cache=clean, start_frame=0)
    assert torch.equal(second, model(t=t, **block_of(inputs, 3, 3), cache=clean, start_frame=3))


def test_only_the_tail_of_the_actions_is_needed():
    model = causal_model()
    inputs, t = causal_inputs("universal", 12), torch.zeros(1, 3)
    cache, lean = model.new_cache(1, 4, 6), model.new_cache(1, 4, 6)
    for start in range(0, 12, 3):
        given = block_of(inputs, start, 3)
        tail = tail_frames(3, model.config.action_config)
        short = given | {k: given[k][:, -tail:] for k in ("mouse_cond", "keyboard_cond")}
        a = model(t=t, **given, cache=cache, start_frame=start)
        b = model(t=t, **short, cache=lean, start_frame=start)
        assert torch.equal(a, b)


def test_positions_have_no_end():
    model = causal_model()
    cache = model.new_cache(1, 4, 6)
    cache.open_block(0)
    for c in cache.rolling.values():  # as after 100,000 latent frames: over 4 hours at 25 frames/s
        c.start, c.written = 99_999, True
    flow = model(t=torch.zeros(1, 3), **causal_inputs("universal", 3), cache=cache, start_frame=99_999)
    assert flow.isfinite().all()


def test_save_point_continues_exactly():
    model = causal_model()
    inputs, t = causal_inputs("universal", 9), torch.zeros(1, 3)
    cache = model.new_cache(1, 4, 6)
    for start in (0, 3):
        model(t=t, **block_of(inputs, start, 3), cache=cache, start_frame=start)
    saved = {k: v.clone() for k, v in cache.tensors().items()}
    fresh = model.new_cache(1, 4, 6)
    fresh.load_tensors(saved)
    want = model(t=t, **block_of(inputs, 6, 3), cache=cache, start_frame=6)
    assert torch.equal(model(t=t, **block_of(inputs, 6, 3), cache=fresh, start_frame=6), want)
    with pytest.raises(ValueError, match="model and size that wrote it"):
        model.new_cache(1, 8, 6).load_tensors(saved)


def test_mistakes_say_what_to_do():
    model = causal_model()
    inputs, t = causal_inputs("universal", 3), torch.zeros(1, 3)
    cache = model.new_cache(1, 4, 6)
    with pytest.raises(ValueError, match="not 6; reset"):
        model(t=t, **inputs, cache=cache, start_frame=6)
    with pytest.raises(ValueError, match="needs a cache"):
        model(t=t, **inputs, start_frame=3)
    with pytest.raises(ValueError, match="window of 6"):
        model.new_cache(1, 4, 6, block=7)
    with pytest.raises(ValueError, match="multiples of 16"):
        model(t=t, **causal_inputs("universal", 3, latent=(5, 6)))


def official_dicts(model: CausalWanModel, window: int, tokens: int = 6):
    def rolling(rows, length, heads, width):
        return [
            {
                "k": torch.zeros(rows, length, heads, width),
                "v": torch.zeros(rows, length, heads, width),
                "global_end_index": torch.tensor([0]),
                "local_end_index": torch.tensor([0]),
            }
            for _ in model.blocks
        ]

    return {
        "kv_cache": rolling(1, window * tokens, 2, 24),
        "kv_cache_mouse": rolling(tokens, window, 2, 64),
        "kv_cache_keyboard": rolling(1, window, 2, 64),
        "crossattn_cache": [{"k": None, "v": None, "is_init": False} for _ in model.blocks],
    }


@pytest.mark.parametrize("cache_frames", [6, 15])  # the notes give a window of 6 a cache of 15
def test_official_call_is_unchanged(cache_frames):
    model = causal_model(window=6)
    model.num_frame_per_block = 3
    inputs = causal_inputs("universal", 24)
    dicts, cache = official_dicts(model, cache_frames), model.new_cache(1, 4, 6)
    for start in range(0, 24, 3):
        for t in (torch.full((1, 3), 700.0), torch.zeros(1, 3)):
            given = block_of(inputs, start, 3)
            want = model(t=t, **given, cache=cache, start_frame=start)
            flow = model(**given, t=t, **dicts, current_start=start * 6, cache_start=None)
            torch.testing.assert_close(flow, want, **SAME)
        entry = dicts["kv_cache"][0]
        assert int(entry["global_end_index"]) == (start + 3) * 6
        assert int(entry["local_end_index"]) == min(start + 3, cache_frames) * 6
        assert int(dicts["kv_cache_mouse"][0]["global_end_index"]) == start + 3
        assert dicts["crossattn_cache"][2]["is_init"]


def test_from_config_reads_a_folder(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"_class_name": "CausalWanModel", "dim": 24, "ffn_dim": 48, "num_heads": 2, "num_layers": 1,'
        ' "freq_dim": 16, "local_attn_size": 4, "action_config": {}}'
    )
    model = CausalWanModel.from_config(str(tmp_path))
    assert (model.config.dim, model.config.local_attn_size, model.config.action_config) == (24, 4, None)


def test_gradients_reach_every_weight():
    model = causal_model().requires_grad_(True)
    model(t=torch.rand(1, 6) * 1000, **causal_inputs("universal", 6)).square().mean().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None]
    # the official file carries these norms' weights and the official code does not apply them
    assert all("attn_q_norm" in n or "attn_k_norm" in n for n in missing), missing
