"""A strip with its halo is the whole picture's strip: of every decoder and of the encoder, at any size, number and cut in time."""

import pytest
import torch
from torch import nn

from tests.golden.golden_file import assert_close
from tests.wan.modules.test_vae import REORDERED, noise, random_vae
from wan.config import VAEConfig
from wan.fast.vae import OptimizedVAEDecoder
from wan.modules.streaming import StreamedDecoder, join, run
from wan.modules.strips import Reach, stage, strips
from wan.modules.tiny_vae import TinyVAE
from wan.modules.vae import WanVAE

NARROW = VAEConfig(dim=4)  # channels are all that a strip does not see


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    return random_vae(NARROW)


@pytest.fixture(scope="module", params=["reference", "fast", "tiny"])
def decoder(request, vae) -> StreamedDecoder:
    if request.param == "tiny":
        torch.manual_seed(0)
        return TinyVAE().eval().requires_grad_(False)
    return vae if request.param == "reference" else OptimizedVAEDecoder(vae)


# --- decoding -------------------------------------------------------------------------------------------------------


# wider and higher, strips of one row, strips that do not divide, a halo beyond both borders and one beyond none
@pytest.mark.parametrize("size, count", [((2, 3), 3), ((5, 2), 2), ((3, 45), 3), ((41, 2), 4), ((3, 3), 2)])
def test_strips_are_the_whole_picture(decoder, size, count):
    latents = noise(1, 16, 3, *size)
    assert_close("video", decoder.decode(latents, strips=count), decoder.decode(latents), REORDERED)


def test_one_strip_is_the_whole_picture_to_the_bit(decoder):
    latents = noise(1, 16, 2, 3, 4)
    assert torch.equal(join(decoder.decode_strips(latents, 1)), decoder.decode(latents))


def test_blocks_of_a_stream_in_strips(decoder):
    """As a world is shown: blocks of several latent frames, one after the other, and each strip goes on from its own state."""
    latents = noise(1, 16, 4, 2, 31)
    state, parts = decoder.new_state(), decoder.strips((2, 31), 3)
    states = [decoder.new_state() for _ in parts]
    shown = []
    for block in latents.split([1, 2, 1], 2):
        features = decoder.stem(block, state)
        made = [decoder.decode_strip(features, own, part) for own, part in zip(states, parts, strict=True)]
        shown.append(torch.cat(made, -1))
    assert [video.shape[2] for video in shown] == [1, 8, 4]
    assert_close("video", torch.cat(shown, 2), decoder.decode(latents), REORDERED)


def test_a_strip_needs_no_other(decoder):
    """Any order, or several at once: of the features only its own part is read."""
    latents = noise(1, 16, 1, 2, 50)
    features, strip = decoder.stem(latents, decoder.new_state()), decoder.strips((2, 50), 2)[1]
    first, end = strip.given
    elsewhere = torch.full_like(features, torch.nan)
    mine = features.narrow(decoder.height + 1, first, end - first)
    elsewhere.narrow(decoder.height + 1, first, end - first).copy_(mine)
    got = decoder.decode_strip(elsewhere, decoder.new_state(), strip)
    assert torch.equal(got, decoder.decode_strip(features, decoder.new_state(), strip))


def test_a_halo_of_one_row_less_is_not_enough(decoder):
    """What is not a number makes all that it reaches not a number: the rows at the ends of the halo reach the strip, those
    beyond them do not."""
    strip = decoder.strips((2, 60), 3)[1]
    first, end = strip.given
    assert 0 < first < strip.made[0] // 8 and strip.made[1] // 8 < end < 60
    features = decoder.stem(noise(1, 16, 1, 2, 60), decoder.new_state())

    def reached(row: int) -> bool:
        spoilt = features.clone().narrow(decoder.height + 1, row, 1).fill_(torch.nan)._base
        video = decoder.decode_strip(spoilt, decoder.new_state())
        return bool(video[..., slice(*strip.made)].isnan().any())

    assert [reached(row) for row in (first - 1, first, end - 1, end)] == [False, True, True, False]


# --- encoding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size, count", [((16, 24), 3), ((40, 8), 2), ((8, 200), 4)])
def test_strips_are_encoded_as_the_whole_picture(vae, size, count):
    video = noise(2, 3, 9, *size)
    assert_close("latents", vae.encode(video, strips=count), vae.encode(video), REORDERED)
    assert_close("latents", vae.encode(video, whole=True, strips=count), vae.encode(video), REORDERED)


@pytest.mark.parametrize("latent_frames", [1, 2, 12])
def test_an_image_is_encoded_in_strips(vae, latent_frames):
    image = noise(2, 3, 8, 184)
    whole = vae.encode_image(image, latent_frames)
    assert_close("latents", vae.encode_image(image, latent_frames, strips=3), whole, REORDERED)


def test_the_encoders_halo_is_what_reaches_a_strip(vae):
    strip = strips(vae.encoder_stages, (8, 320), 4)[1]
    first, end = strip.given

    def reached(column: int) -> bool:
        video = noise(1, 3, 1, 8, 320)
        video[..., column] = torch.nan
        state = vae.encoder.new_state()
        features = run([layer for layers in vae.encoder.stages() for layer in layers], video, state)
        return bool(features[..., slice(*strip.made)].isnan().any())

    # a stride of 2 begins at even rows, so of the first row or two one more than needed is read
    assert not reached(first - 1) and any(reached(first + i) for i in range(4))
    assert [reached(end - 1), reached(end)] == [True, False]


# --- which rows -----------------------------------------------------------------------------------------------------


def test_layers_of_every_kind_have_their_rows():
    layers = [nn.Conv2d(1, 1, 3, padding=1), nn.SiLU(), nn.Conv2d(1, 1, 1), nn.Upsample(scale_factor=2.0)]
    up = stage([*layers, nn.Conv2d(1, 1, 3, padding=1)])
    assert up.reaches == (Reach(1, 3, 1, 1), Reach(up=2), Reach(1, 3, 1, 1)) and up.made(5) == 10
    # rows 8 to 11 of the doubled picture read its rows 7 to 12, which are rows 3 to 6, and those 2 to 7
    assert up.needed((8, 12), 20) == (2, 8) and up.needed((0, 40), 20) == (0, 20)
    down = stage([nn.Conv2d(1, 1, 3, padding=1), nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 1, 3, stride=2)])
    # row 3 reads rows 6 to 8, and those 5 to 9; a strip begins at an even row
    assert down.needed((3, 4), 20) == (4, 10) and down.made(20) == 10


@pytest.mark.parametrize("size, count", [((90, 160), 4), ((160, 90), 3), ((7, 5), 5), ((1, 1), 1)])
def test_strips_are_the_picture_side_by_side(vae, size, count):
    parts = strips(vae.stages, size, count)
    side, long = (0, size[0]) if size[0] > size[1] else (1, size[1])
    assert {part.side for part in parts} == {side}
    assert [part.made[0] for part in parts] + [8 * long] == [0] + [part.made[1] for part in parts]
    heights = [end - first for first, end in (part.made for part in parts)]
    assert max(heights) - min(heights) <= 8 and all(height % 8 == 0 for height in heights)


@pytest.mark.parametrize("count", [0, 6])
def test_as_many_strips_as_rows_at_most(vae, count):
    with pytest.raises(ValueError, match=f"5 rows or columns cannot be {count} strips: ask for 1 to 5"):
        vae.strips((3, 5), count)
