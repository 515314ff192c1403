"""The tiny VAE equals itself however a clip is cut, and stands in for the real VAE's decoder.

That it equals its authors' code is tests/golden's taew2_1.safetensors.
"""

import pytest
import torch
from torch import Tensor

from tests.golden.golden_file import assert_close
from wan.config import VAEConfig
from wan.modules.tiny_vae import TinyVAE
from wan.modules.vae import WanVAE

# another number of images in a convolution may sum in another order
REORDERED = 1e-5


@pytest.fixture(scope="module")
def vae() -> TinyVAE:
    torch.manual_seed(0)
    return TinyVAE().eval().requires_grad_(False)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cuts", [[4], [1, 1, 1, 1], [3, 1], [1, 3]])
def test_streamed_decode_equals_whole(vae, cuts):
    latents = noise(2, 16, 4, 2, 3)
    state = vae.new_state()
    chunks = [vae.decode_chunk(part, state) for part in latents.split(cuts, dim=2)]
    assert [c.shape[2] for c in chunks] == [4 * n - 3 * (i == 0) for i, n in enumerate(cuts)]
    assert_close("video", torch.cat(chunks, 2), vae.decode(latents, whole=True), REORDERED)


def test_a_saved_state_goes_on(vae):
    first, second = noise(1, 16, 4, 2, 2).split(2, 2)
    state, loaded = vae.new_state(), vae.new_state()
    vae.decode_chunk(first, state)
    loaded.load_tensors(state.clone().tensors())
    assert torch.equal(vae.decode_chunk(second, loaded), vae.decode_chunk(second, state))


def test_it_can_replace_the_real_decoder(vae):
    latents = noise(2, 16, 3, 4, 6)
    real = WanVAE(VAEConfig(dim=4)).requires_grad_(False)
    for decoder in (real, vae):
        frames = [chunk.shape for chunk in decoder.decode_chunks(latents, chunk=2)]
        assert frames == [(2, 3, 5, 32, 48), (2, 3, 4, 32, 48)]
    with pytest.raises(ValueError, match="saved state does not fit"):
        saved = real.new_state()
        real.decode_chunk(latents, saved)
        vae.new_state().load_tensors(saved.tensors())


def test_encode_makes_as_many_latent_frames_as_the_real_encoder(vae):
    assert vae.encode(noise(1, 3, 9, 16, 24)).shape == (1, 16, 3, 2, 3)


def test_it_runs_in_half_precision(vae):
    half = TinyVAE().requires_grad_(False)
    half.load_state_dict(vae.state_dict())
    latents = noise(1, 16, 2, 2, 2)
    got = half.to(torch.bfloat16).decode(latents)
    assert got.dtype == torch.bfloat16
    # one rounding to 8 bits a layer
    assert_close("video", got.float(), vae.decode(latents), 0.05)
