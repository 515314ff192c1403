import pytest
import torch
from transformers.models.umt5.modeling_umt5 import UMT5Attention

from wan.config import T5Config
from wan.modules.t5 import T5Encoder, distance_buckets

TINY = T5Config(vocab=50, dim=32, dim_attn=32, dim_ffn=48, num_heads=2, num_layers=2)


@pytest.fixture
def model() -> T5Encoder:
    torch.manual_seed(0)
    return T5Encoder(TINY).eval().requires_grad_(False)


def prompt(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of prompts of these lengths, padded to the longest."""
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return torch.randint(2, 50, mask.shape, generator=torch.Generator().manual_seed(1)) * mask, mask.long()


@pytest.mark.parametrize("buckets", [8, 32])
def test_distances_fall_into_the_buckets_transformers_puts_them_in(buckets):
    class Peer:
        relative_attention_num_buckets, relative_attention_max_distance, is_decoder = buckets, 128, False

    position = torch.arange(300)
    want = UMT5Attention._relative_position_bucket(Peer(), position[None, :] - position[:, None])
    assert torch.equal(distance_buckets(300, buckets, torch.device("cpu")), want)


def test_padding_changes_nothing(model):
    ids, mask = prompt(9, 4)
    both = model(ids, mask)
    # masked keys weigh exactly nothing; only the order of sums differs with the length
    torch.testing.assert_close(both[1:, :4], model(ids[1:, :4], mask[1:, :4]), rtol=1e-5, atol=1e-5)


def test_a_shared_position_bias_is_one_for_all_layers():
    model = T5Encoder(T5Config(**{**vars(TINY), "shared_pos": True}))
    assert [k for k in model.state_dict() if "pos_embedding" in k] == ["pos_embedding.embedding.weight"]
    assert model(*prompt(5)).shape == (1, 5, 32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float32(model, dtype):
    ids, mask = prompt(12)
    want = model(ids, mask)
    got = model.to(dtype)(ids, mask)
    assert got.dtype == dtype
    # states are of order 1; bf16 keeps 8 bits and loses about one of them a layer
    torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.1)


def test_float16_overflow_saturates_instead_of_spreading_nan(model):
    model.blocks[0].ffn.fc1.weight.mul_(3e3)
    model.blocks[0].ffn.gate[0].weight.mul_(3e3)
    assert model.half()(*prompt(6)).isfinite().all()
