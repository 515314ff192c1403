"""The optimized Wan2.2 expert equals the reference: t2v and i2v, batches, timesteps, prompts of any length."""

import pytest
import torch

from tests.wan.checkpoints import save_expert, streamed
from tests.wan.tiny_models import wan_model
from wan.fast.expert import OptimizedWanModel, trailing_repeats
from wan.files.weights import Finish
from wan.modules.attention import attend, attend_biased, count_bias

SAME = {"rtol": 1e-4, "atol": 2e-5}  # float32, the same sums in another order


def pair(**changes):
    reference = wan_model(**changes)
    fast = OptimizedWanModel(reference.config).eval().requires_grad_(False)
    fast.load_state_dict(reference.state_dict())
    return reference, fast


def latents(batch=1, frames=3):
    return torch.randn(batch, 16, frames, 4, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("t", [700.0, torch.tensor([[0.0, 500.0, 999.0]])])
@pytest.mark.parametrize("length", [1, 7, 11, 12])  # of 12: much padding, one row of it, none
def test_equal(batch, t, length):
    reference, fast = pair()
    x, prompt = latents(batch), [torch.randn(length, 24)] * batch
    torch.testing.assert_close(fast(x, t, prompt), reference(x, t, prompt), **SAME)


def test_i2v_and_strided_positions():
    reference, fast = pair(model_type="i2v", in_dim=36)
    x, y, prompt = latents(), torch.randn(1, 20, 3, 4, 6), [torch.randn(5, 24)]
    want = reference(x, 500.0, prompt, y, frame_positions=[0, 2, 4])
    torch.testing.assert_close(fast(x, 500.0, prompt, y, frame_positions=[0, 2, 4]), want, **SAME)


def test_a_prompt_is_embedded_once_and_keeps_its_keys():
    reference, fast = pair()
    x, prompts = latents(), [torch.randn(5, 24, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1, 2)]
    texts = [(fast.embed_text([prompt]), reference.embed_text([prompt])) for prompt in prompts]
    for _ in range(2):  # in turns, as the branches of guidance are
        for ours, theirs in texts:
            torch.testing.assert_close(fast(x, 500.0, ours), reference(x, 500.0, theirs), **SAME)
    kept = [ours.keys(1, lambda rows: pytest.fail("computed twice"))[0] for ours, _ in texts]
    assert len({k.data_ptr() for k in kept}) == 3


def test_a_batch_of_prompts_with_unequal_padding():
    reference, fast = pair()
    x, prompts = latents(batch=2), [torch.randn(3, 24), torch.randn(9, 24)]
    torch.testing.assert_close(fast(x, 500.0, prompts), reference(x, 500.0, prompts), **SAME)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [4, 97, 412, 511])
def test_a_few_keys_weigh_as_much_as_many(dtype, count):
    bias, kept = count_bias(7, count, dtype, torch.device("cpu"))
    assert len(bias) == 6 + kept and bias[:6].eq(0).all()
    weight = bias[6:].double().exp().sum().item()
    assert weight == pytest.approx(count, rel=1e-4)  # log(412) alone is off by 1 % in bf16
    q, k, v = torch.randn(2, 5, 3, 8), torch.randn(2, 7, 3, 8), torch.randn(2, 7, 3, 8)
    few, many = ([torch.cat([a, a[:, -1:].expand(-1, n - 1, -1, -1)], dim=1) for a in (k, v)] for n in (kept, count))
    torch.testing.assert_close(attend_biased(q, *few, bias.float()), attend(q, *many), rtol=1e-3, atol=1e-4)


def test_trailing_repeats():
    rows = torch.tensor([[1.0, 2, 3, 3, 3], [1, 3, 2, 3, 3]])[:, :, None]
    assert [trailing_repeats(rows[:1]), trailing_repeats(rows), trailing_repeats(rows[:, :2])] == [3, 2, 1]


@pytest.mark.gpu
def test_equal_on_the_gpu_with_its_kernels(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # patches are embedded by a convolution
    reference, fast = (m.to("cuda") for m in pair())
    x, prompt = latents(2).cuda(), [torch.randn(7, 24).cuda()] * 2
    for t in (700.0, torch.tensor([[0.0, 500.0, 999.0]]).cuda()):
        torch.testing.assert_close(fast(x, t, prompt), reference(x, t, prompt), **SAME)


def test_new_weights_are_noticed():
    reference, fast = pair()
    x, prompt = latents(), [torch.randn(5, 24)]
    text = fast.embed_text(prompt)
    fast(x, 500.0, text)
    other = wan_model(seed=3)
    fast.load_state_dict(other.state_dict())  # in place: what was derived must follow
    torch.testing.assert_close(fast(x, 500.0, fast.embed_text(prompt)), other(x, 500.0, prompt), **SAME)


def test_blocks_may_be_streamed_through_the_device(tmp_path):
    reference, _ = pair()
    x, prompt = latents(), [torch.randn(5, 24)]
    fast = streamed(save_expert(tmp_path, reference), Finish())
    for _ in range(2):
        torch.testing.assert_close(fast(x, 500.0, prompt), reference(x, 500.0, prompt), **SAME)


def test_what_is_streamed_leaves_nothing_behind(tmp_path):
    """Everything of a block that is on the device while it computes is a parameter, and gone afterwards."""
    reference, fast = pair()
    blocks = [sum(p.nbytes for p in block.parameters()) for block in fast.blocks]
    attention = 4 * 48 * 48 + 4 * 48  # q, k, v, o
    assert all(size >= 4 * 2 * attention for size in blocks), "joined weights are counted"
    fast = streamed(save_expert(tmp_path, reference), Finish())
    fast(latents(), 500.0, [torch.randn(5, 24)])
    assert sum(p.nbytes for p in fast.blocks.parameters()) == 0
    held = [
        v for block in fast.blocks for m in block.modules() for v in vars(m).values() if isinstance(v, torch.Tensor)
    ]
    assert not held, "no tensor lives beside the parameters"
