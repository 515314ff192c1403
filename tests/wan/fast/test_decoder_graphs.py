"""Graph = eager, bit for bit, for every streamed decoder and for clips decoded in turn; what changes hands is tested on a CPU."""

import pytest
import torch

from tests.wan.modules.test_vae import SMALL, noise, random_vae
from wan.fast.decoder_graphs import StatePlace, capture_chunks
from wan.fast.vae import OptimizedVAEDecoder
from wan.modules.streaming import StreamState
from wan.modules.tiny_vae import TinyVAE


def decoder(kind: str):
    if kind == "tiny":
        return TinyVAE().eval().requires_grad_(False)
    return random_vae(SMALL) if kind == "reference" else OptimizedVAEDecoder(random_vae(SMALL))


def state_of(value: float) -> StreamState:
    state = StreamState(["a"])
    state.tails = {"a": torch.full((2,), value)}
    return state


def test_a_place_changes_hands():
    place, first, second = StatePlace({"a": torch.zeros(2)}), state_of(1), state_of(2)
    address = place.tails["a"].data_ptr()
    for state in (first, second):
        place.hold(state)
        assert torch.equal(place.tails["a"], state.tails["a"]) and place.tails["a"].data_ptr() == address
        state.tails = dict(place.tails)
    assert first.tails["a"].tolist() == [1, 1], "kept by the clip that left"
    first.reset()
    place.hold(first)  # a new clip: its first chunk reads no state
    assert second.tails["a"].tolist() == [2, 2]


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["optimized", "tiny", "reference"])
def test_graph_equals_eager_bit_for_bit(kind):
    eager, graphed = (decoder(kind).to("cuda", torch.bfloat16) for _ in range(2))
    graphed.load_state_dict(eager.state_dict())
    capture_chunks(graphed)
    clips = [noise(1, 16, 9, 4, 6, seed=seed).to("cuda", torch.bfloat16) for seed in (1, 2)]
    want = [torch.cat(list(eager.decode_chunks(clip, 3)), 2) for clip in clips]
    for clip, video in zip(clips, want, strict=True):  # one after the other
        assert torch.equal(torch.cat(list(graphed.decode_chunks(clip, 3)), 2), video)
    in_turn = zip(*(graphed.decode_chunks(clip, 3) for clip in clips), strict=True)
    for chunks, video in zip(zip(*in_turn, strict=True), want, strict=True):
        assert torch.equal(torch.cat(chunks, 2), video)
