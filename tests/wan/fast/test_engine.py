"""Engine: worlds one after the other on one set of buffers, and what a lease may no longer do."""

import gc
import weakref

import pytest
import torch

from tests.wan.fast.test_graphs import play
from tests.wan.tiny_models import causal_inputs, causal_model
from wan.fast.causal import OptimizedCausalWanModel
from wan.fast.engine import Engine
from wan.modules.causal_model import CausalWanModel


@pytest.mark.parametrize("cls", [CausalWanModel, OptimizedCausalWanModel])
def test_worlds_one_after_the_other(cls):
    engine = Engine(causal_model(cls=cls))
    first = play(engine, "universal", 12, seed=1)
    address = engine._room.cache.self_attn.buffer.data_ptr()
    other = play(engine, "universal", 12, seed=2)
    assert torch.equal(play(engine, "universal", 12, seed=1), first) and not torch.equal(other, first)
    assert torch.equal(other, play(Engine(engine.model), "universal", 12, seed=2)), "as on an engine of its own"
    assert engine._room.cache.self_attn.buffer.data_ptr() == address, "reset in place"


def test_a_world_ends_when_another_begins():
    engine = Engine(causal_model(cls=OptimizedCausalWanModel))
    given = causal_inputs("universal", 3)
    before = engine.begin(given["visual_context"], 4, 6, 3)
    before.open_block(0, given["mouse_cond"], given["keyboard_cond"])
    now = engine.begin(given["visual_context"], 4, 6, 3)
    x = torch.cat([given["x"], given["cond_concat"]], 1)
    for use in (lambda: before.step(x, 500.0), lambda: before.open_block(0, None, None), lambda: before.cache):
        with pytest.raises(ValueError, match="this world has ended, because another one began"):
            use()
    now.open_block(0, given["mouse_cond"], given["keyboard_cond"])
    assert now.step(x, 500.0).isfinite().all()


def test_two_engines_play_at_once():
    model = causal_model(cls=OptimizedCausalWanModel)
    given = causal_inputs("universal", 3)
    x = torch.cat([given["x"], given["cond_concat"]], 1)
    leases = [Engine(model).begin(given["visual_context"], 4, 6, 3) for _ in range(2)]
    for lease in leases:
        lease.open_block(0, given["mouse_cond"], given["keyboard_cond"])
    assert torch.equal(leases[0].step(x, 500.0), leases[1].step(x, 500.0))


def test_another_size_and_closing_give_the_buffers_back():
    engine = Engine(causal_model(cls=OptimizedCausalWanModel))
    first = play(engine, "universal", 9)
    for leave in (lambda: play(engine, "universal", 9, batch=2), engine.close):
        play(engine, "universal", 9)
        buffer = weakref.ref(engine._room.cache.self_attn.buffer)
        leave()
        gc.collect()
        assert buffer() is None
    assert torch.equal(play(engine, "universal", 9), first), "a closed engine begins anew"


def test_graphs_are_of_the_optimized_model():
    with pytest.raises(ValueError, match="this is the reference"):
        Engine(causal_model(), graphs=True)
