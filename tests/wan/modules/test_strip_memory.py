"""What strips take is what torch allocates, counted tensor by tensor; and the numbers that follow for the released VAE."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.wan.modules.test_vae import noise, random_vae
from wan.config import WAN21_VAE, VAEConfig
from wan.device import GIB
from wan.fast.vae import OptimizedVAEDecoder
from wan.modules import strip_memory
from wan.modules.streaming import StreamedDecoder
from wan.modules.strip_memory import Work, fewest, peak_bytes
from wan.modules.tiny_vae import TinyVAE
from wan.modules.vae import WanVAE

SIZES = [((8, 40), 2), ((20, 10), 4), ((6, 8), 1)]


class Allocated(TorchDispatchMode):
    """Bytes of all tensors made inside, now and at most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: dict[int, int] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in (leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self.known and not self._given(storage, (args, kwargs)):
                self.known[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, storage._cdata)
        return out

    def _given(self, storage, given) -> bool:
        tensors = (leaf for leaf in tree_leaves(given) if isinstance(leaf, torch.Tensor))
        return any(tensor.untyped_storage()._cdata == storage._cdata for tensor in tensors)

    def _freed(self, key: int) -> None:
        self.now -= self.known.pop(key)


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    return random_vae(VAEConfig(dim=4))


@pytest.fixture(params=["reference", "fast", "tiny"])
def decoder(request, vae) -> StreamedDecoder:
    if request.param == "tiny":
        return TinyVAE().eval().requires_grad_(False)
    return vae if request.param == "reference" else OptimizedVAEDecoder(vae)


def assert_from_above(took: int, said: int) -> None:
    """An estimate to choose by: never less than what it took, and not much more."""
    assert 0.7 * said < took <= said


@pytest.mark.parametrize("size, count", SIZES)
def test_decoding_takes_what_was_said(decoder, monkeypatch, size, count):
    monkeypatch.setattr(strip_memory, "WORKSPACE", 0)
    latents = noise(1, 16, 3, *size)
    with Allocated() as allocated:
        for _ in decoder.decode_strips(latents, count) if count > 1 else decoder.decode_chunks(latents):
            pass
    assert_from_above(allocated.peak, decoder.strip_bytes((3, *size), count))


@pytest.mark.parametrize("size, count", SIZES)
def test_encoding_takes_what_was_said(vae, monkeypatch, size, count):
    monkeypatch.setattr(strip_memory, "WORKSPACE", 0)
    size = tuple(8 * side for side in size)
    image = noise(1, 3, *size)
    with Allocated() as allocated:
        vae.encode_image(image, 21, strips=count)
    assert_from_above(allocated.peak, vae.encoder_bytes(size, count))


@pytest.fixture(scope="module")
def released() -> WanVAE:
    with torch.device("meta"):
        return WanVAE(WAN21_VAE).half()


@pytest.mark.parametrize("latents, count", [((21, 90, 160), 4), ((13, 60, 104), 2)])
def test_a_released_video_is_decoded_in_3_gib(released, latents, count):
    """In float16 on a GPU: 81 frames of 1280*720 and 49 of 832*480; weights are 0.14 GiB."""
    fast = Work(2, busy=9, frames=1)
    features = released.features * latents[0] * latents[1] * latents[2] * 2
    took = {n: features + peak_bytes(released.stages, latents[1:], n, fast) for n in (count - 1, count)}
    assert took[count] + 0.15 * GIB < 3 * GIB < took[count - 1] + 0.15 * GIB


def test_an_encoder_with_little_memory_takes_strips(vae):
    image = noise(1, 3, 8, 320)
    assert len(vae._encoder_strips(image, None)) == 1
    vae.memory = vae.encoder_bytes((8, 320), 2)
    try:
        assert len(vae._encoder_strips(image, None)) == 2
    finally:
        vae.memory = WanVAE.memory


def test_the_fewest_strips_that_fit():
    needed = {1: 100, 2: 60, 3: 50, 4: 45, 5: 46}
    assert [fewest(needed.__getitem__, free, 5) for free in (100, 99, 50, 45, 10)] == [1, 2, 3, 4, 4]
