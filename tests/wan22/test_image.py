"""The image condition: size as upstream works it out, mask, and the latents of the image followed by empty frames."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_checkpoints import TINY_VAE
from wan.modules.vae import WanVAE
from wan22.image import image_condition, image_tensor, size_for


def upstream_size(width: int, height: int, area: int) -> str:
    aspect = height / width
    rows = round(np.sqrt(area * aspect) // 8 // 2 * 2) * 8
    columns = round(np.sqrt(area / aspect) // 8 // 2 * 2) * 8
    return f"{columns}*{rows}"


@pytest.mark.parametrize("shape", [(1280, 720), (720, 1280), (500, 500), (4000, 1000), (37, 91)])
@pytest.mark.parametrize("size", ["1280*720", "832*480"])
def test_the_size_is_upstreams(shape, size):
    width, height = map(int, size.split("*"))
    assert size_for(Image.new("RGB", shape), size) == upstream_size(*shape, width * height)


def test_a_needle_is_refused():
    with pytest.raises(ValueError, match="9000x16 is too narrow .* crop it"):
        size_for(Image.new("RGB", (9000, 16)), "64*64")


def test_pixels_are_between_minus_one_and_one_in_rgb():
    tensor = image_tensor(Image.new("RGB", (20, 10), (255, 0, 51)), 32, 16)
    assert tensor.shape == (1, 3, 16, 32)
    torch.testing.assert_close(tensor[0, :, 3, 3], torch.tensor([1.0, -1.0, -0.6]))


def test_the_condition_is_a_mask_and_the_encoded_image_before_empty_frames():
    torch.manual_seed(0)
    vae = WanVAE(TINY_VAE).eval().requires_grad_(False)
    image = torch.rand(1, 3, 32, 48) * 2 - 1
    got = image_condition(image, 3, vae)
    assert got.shape == (1, 20, 3, 4, 6)
    assert (got[:, :4, 0] == 1).all() and (got[:, :4, 1:] == 0).all()
    video = torch.cat([image[:, :, None], torch.zeros(1, 3, 8, 32, 48)], dim=2)
    torch.testing.assert_close(got[:, 4:], vae.encode(video), atol=1e-5, rtol=0)  # float32, shorter way
