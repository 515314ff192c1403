"""The optimized decoder gives the frames of the reference, however a clip is cut, and goes on from its state."""

import dataclasses

import pytest
import torch

from tests.golden.golden_file import assert_close
from tests.wan.modules.test_vae import REORDERED, SMALL, noise, random_vae
from wan.config import VAEConfig
from wan.fast.vae import OptimizedVAEDecoder
from wan.modules.vae import WanVAE


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    return random_vae(SMALL)


@pytest.fixture(scope="module")
def fast(vae) -> OptimizedVAEDecoder:
    return OptimizedVAEDecoder(vae)


@pytest.mark.parametrize("cuts", [[5], [1, 1, 1, 1, 1], [3, 2], [2, 1, 2], [1, 4]])
def test_equals_the_reference_however_a_clip_is_cut(vae, fast, cuts):
    latents = noise(2, 16, 5, 3, 4)
    want, state = vae.decode(latents), fast.new_state()
    video = torch.cat([fast.decode_chunk(part, state) for part in latents.split(cuts, dim=2)], 2)
    assert_close("video", video, want, REORDERED)


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_whole_clips_and_strips(vae, fast, chunk):
    latents = noise(1, 16, 4, 5, 6)
    chunked = OptimizedVAEDecoder(vae, chunk)
    assert_close("video", chunked.decode(latents), vae.decode(latents), REORDERED)
    assert_close("video", chunked.decode(latents, whole=True), vae.decode(latents), REORDERED)
    assert_close("video", chunked.decode(latents, strips=3), vae.decode(latents), REORDERED)


@pytest.mark.parametrize(
    "doubles_time", [(False, False, True), (True, True, True), (True, False, False), (True, False)]
)
def test_every_pattern_in_time(doubles_time):
    mult = (1, 2, 4, 4)[: len(doubles_time) + 1]
    vae = random_vae(dataclasses.replace(SMALL, temperal_downsample=doubles_time, dim_mult=mult))
    latents = noise(1, 16, 4, 3, 2)
    state, fast = vae.new_state(), OptimizedVAEDecoder(vae, chunk=2)
    want = torch.cat([vae.decode_chunk(part, state) for part in latents.split([1, 3], 2)], 2)
    assert_close("video", fast.decode(latents), want, REORDERED)


def test_other_sizes():
    config = VAEConfig(dim=6, z_dim=4, dim_mult=(1, 3), num_res_blocks=1, temperal_downsample=(True,), mean=(0.5,) * 4, std=(2.0,) * 4)  # fmt: skip
    vae = random_vae(config)
    latents = noise(1, 4, 3, 3, 2)
    assert_close("video", OptimizedVAEDecoder(vae).decode(latents), vae.decode(latents), REORDERED)


def test_each_goes_on_from_the_others_state(vae, fast):
    first, second, third = noise(1, 16, 6, 2, 3).split([1, 2, 3], 2)
    state = vae.new_state()
    want = [vae.decode_chunk(part, state) for part in (first, second, third)]
    state = vae.new_state()
    got = [decoder.decode_chunk(part, state) for decoder, part in ((vae, first), (fast, second), (vae, third))]
    assert_close("video", torch.cat(got, 2), torch.cat(want, 2), REORDERED)


def test_state_can_be_copied_saved_and_reset(fast):
    first, second = noise(1, 16, 5, 2, 3).split([2, 3], 2)
    state = fast.new_state()
    start = fast.decode_chunk(first, state)
    copy, saved, loaded = state.clone(), state.clone().tensors(), fast.new_state()
    loaded.load_tensors({name: tensor.contiguous() for name, tensor in saved.items()})  # as a file gives them
    want = fast.decode_chunk(second, state)
    assert torch.equal(fast.decode_chunk(second, copy), want)
    assert torch.equal(fast.decode_chunk(second, loaded), want)
    state.reset()
    assert torch.equal(fast.decode_chunk(first, state), start)


def test_state_stays_where_it_is(fast):
    """What lets a chunk be captured in a graph."""
    state, places = fast.new_state(), []
    for part in noise(1, 16, 6, 2, 2).split([1, 2, 2, 1], 2):
        fast.decode_chunk(part, state)
        places.append({name: tail.data_ptr() for name, tail in state.tensors().items()})
    assert all(place == places[0] for place in places)


def test_nothing_is_shared_with_the_reference(vae):
    theirs = {p.untyped_storage().data_ptr() for p in vae.parameters()}
    ours = {p.untyped_storage().data_ptr() for p in OptimizedVAEDecoder(vae).parameters()}
    assert not theirs & ours


# one rounding per layer: bf16 keeps 8 bits, fp16 11, through some 30 layers
@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 0.2), (torch.float16, 0.02)])
def test_half_precision_is_no_worse_than_the_reference(vae, dtype, tolerance):
    half = random_vae(SMALL).to(dtype)
    latents = noise(1, 16, 2, 2, 2)
    want, got = vae.decode(latents), OptimizedVAEDecoder(half).decode(latents)
    assert got.dtype == dtype
    assert_close("video", got.float(), want, tolerance)
    error, theirs = ((v.float() - want).norm() for v in (got, half.decode(latents)))
    assert error < 1.1 * theirs


def test_survives_large_fp16_activations():
    """Latents 100 times too large, with a first convolution that takes activations close to the end of fp16's range."""
    vae = random_vae(SMALL)
    vae.decoder.conv1.weight *= 40
    latents = noise(1, 16, 2, 2, 2) * 100
    want = vae.decode(latents)
    assert_close("video", OptimizedVAEDecoder(vae.half()).decode(latents).float(), want, 0.02)
