"""How many strips a video is decoded by: the fewest that fit, and with little memory at least two and 3 GiB at most."""

import math

import torch

from tests.wan.modules.test_vae import random_vae
from wan.config import WAN21_VAE, VAEConfig
from wan.device import GIB
from wan.modules.vae import WanVAE
from wan22.memory import Needs, choose_strips, explain, usable_bytes

LATENTS = (21, 60, 104)
NEEDS = Needs(0, 0, 0, 0)


def test_as_few_strips_as_fit():
    vae = random_vae(VAEConfig(dim=4))
    assert choose_strips(vae, LATENTS, math.inf) == 1
    for count in (2, 3, 7):
        assert choose_strips(vae, LATENTS, vae.strip_bytes(LATENTS, count)) == count
        assert choose_strips(vae, LATENTS, vae.strip_bytes(LATENTS, count) - 1) == count + 1


def test_little_memory_is_two_strips_or_3_gib():
    vae = random_vae(VAEConfig(dim=4))
    assert choose_strips(vae, (3, 8, 12), math.inf, little=True) == 2
    assert choose_strips(vae, (3, 1, 1), math.inf, little=True) == 1  # a picture that has no two
    with torch.device("meta"):
        released = WanVAE(WAN21_VAE).half()
    count = choose_strips(released, LATENTS, math.inf, little=True)
    weights = sum(p.nbytes for p in released.parameters())
    assert (
        released.strip_bytes(LATENTS, count) + weights <= 3 * GIB < released.strip_bytes(LATENTS, count - 1) + weights
    )


def test_memory_of_the_host_has_no_limit():
    assert usable_bytes(torch.device("cpu")) == math.inf


def test_what_did_not_fit_whole_is_decoded_by_strips():
    assert explain("decode", "both", NEEDS, tiled=False).settings == ("vae_tiling",)
    for phase, tiled in (("decode", True), ("image", False), ("image", True)):
        assert explain(phase, "both", NEEDS, tiled).settings == ("size",)
