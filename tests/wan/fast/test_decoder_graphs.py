"""Graph = eager, bit for bit, for every streamed decoder and for clips decoded one after the other; on a GPU only."""

import pytest
import torch

from tests.wan.modules.test_vae import SMALL, noise, random_vae
from wan.fast.decoder_graphs import CapturedDecoder
from wan.fast.vae import OptimizedVAEDecoder
from wan.modules.tiny_vae import TinyVAE

pytestmark = pytest.mark.gpu


def decoder(kind: str):
    if kind == "tiny":
        return TinyVAE().eval().requires_grad_(False)
    return random_vae(SMALL) if kind == "reference" else OptimizedVAEDecoder(random_vae(SMALL))


@pytest.mark.parametrize("kind", ["optimized", "tiny", "reference"])
def test_graph_equals_eager_bit_for_bit(kind):
    eager, inner = (decoder(kind).to("cuda", torch.bfloat16) for _ in range(2))
    inner.load_state_dict(eager.state_dict())
    graphed = CapturedDecoder(inner)
    clips = [noise(1, 16, 9, 4, 6, seed=seed).to("cuda", torch.bfloat16) for seed in (1, 2, 1)]
    clips.append(noise(1, 16, 9, 6, 4, seed=3).to("cuda", torch.bfloat16))  # another size
    for clip in [*clips, clips[0]]:
        want = torch.cat(list(eager.decode_chunks(clip, 3)), 2)
        assert torch.equal(torch.cat(list(graphed.decode_chunks(clip, 3)), 2), want)


def test_a_clip_goes_on_from_a_saved_state_and_ends_when_another_begins():
    plain = decoder("tiny").to("cuda", torch.bfloat16)
    graphed, clip = CapturedDecoder(plain), noise(1, 16, 9, 4, 6, seed=1).to("cuda", torch.bfloat16)
    want = list(plain.decode_chunks(clip, 3))
    state = graphed.new_state()
    graphed.decode_chunk(clip[:, :, :3], state)
    saved = {name: tail.clone() for name, tail in state.tensors().items()}
    other = graphed.new_state()
    graphed.decode_chunk(clip[:, :, 3:6], other)
    with pytest.raises(ValueError, match="this clip has ended"):
        graphed.decode_chunk(clip[:, :, 3:6], state)
    loaded = graphed.new_state()
    loaded.load_tensors(saved)
    assert torch.equal(graphed.decode_chunk(clip[:, :, 3:6], loaded), want[1])
