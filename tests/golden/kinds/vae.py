"""The Wan 2.1 VAE: encode, decode, and decode in chunks, against the official one."""

import torch

from tests.golden.golden_file import GoldenFile, assert_close
from wan.config import VAEConfig, from_dict
from wan.modules.vae import WanVAE

# float32; the official code convolves another number of frames at a time, which reorders sums in some 30 layers
TOLERANCE = 2e-5


@torch.no_grad()
def check(golden: GoldenFile) -> None:
    vae = WanVAE(from_dict(VAEConfig, golden.config)).eval()
    vae.load_state_dict(golden.weights())
    assert_close("latents", vae.encode(golden["in/video"]), golden["out/latents"], TOLERANCE)
    assert_close("latents, one pass", vae.encode(golden["in/video"], whole=True), golden["out/latents"], TOLERANCE)
    for chunk in (1, 3):
        video = torch.cat(list(vae.decode_chunks(golden["in/z"], chunk)), 2)
        assert_close(f"video, {chunk} latent frames at a time", video, golden["out/video"], TOLERANCE)
    assert_close("video, one pass", vae.decode(golden["in/z"], whole=True), golden["out/video"], TOLERANCE)
