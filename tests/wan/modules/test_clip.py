import pytest
import torch

from wan.config import CLIPConfig
from wan.modules.clip import CLIPVision

TINY = CLIPConfig(image_size=28, patch_size=14, dim=32, out_dim=16, num_heads=2, num_layers=3)


@pytest.fixture
def model() -> CLIPVision:
    torch.manual_seed(0)
    return CLIPVision(TINY).eval().requires_grad_(False)


def test_a_video_is_its_frames_one_after_another(model):
    video = torch.rand(2, 3, 4, 30, 50) * 2 - 1
    tokens = model.encode(video)
    assert tokens.shape == (2 * 4, 2 * 2 + 1, 32)
    # frame by frame: the same image in a batch of another size, so only the order of sums may differ
    torch.testing.assert_close(tokens[4:], model.encode(video[1].transpose(0, 1)), rtol=1e-5, atol=1e-5)


def test_the_input_is_left_alone(model):
    image = torch.rand(1, 3, 28, 28)
    before = image.clone()
    model.encode(image)
    assert torch.equal(image, before)


def test_half_precision_stays_near_float32(model):
    image = torch.rand(1, 3, 40, 40) * 2 - 1
    want = model.encode(image)
    got = model.to(torch.bfloat16).encode(image)
    assert got.dtype == torch.bfloat16
    # bf16 keeps 8 bits; two layers with values up to 3 stay within a few of its steps
    torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.05)


def test_another_shape_of_clip_is_refused_by_name():
    with pytest.raises(ValueError, match="quick_gelu"):
        CLIPVision(CLIPConfig(activation="quick_gelu"))
