"""Graph = eager, bit for bit, past eviction and over several worlds of one engine; on a GPU only."""

import pytest
import torch

from tests.wan.tiny_models import block_of, causal_inputs, causal_model
from wan.fast.causal import OptimizedCausalWanModel
from wan.fast.engine import Engine

pytestmark = pytest.mark.gpu


def play(engine: Engine, mode: str, frames: int, batch: int = 1, seed: int = 1) -> torch.Tensor:
    """A world's flows, three steps a block."""
    like = {"device": engine.model.device, "dtype": engine.model.dtype}
    inputs = {k: v if v is None else v.to(**like) for k, v in causal_inputs(mode, frames, batch, seed=seed).items()}
    made = []
    with torch.inference_mode():
        lease = engine.begin(inputs["visual_context"], 4, 6, 3)
        for start in range(0, frames, 3):
            given = block_of(inputs, start, 3)
            lease.open_block(start, given["mouse_cond"], given["keyboard_cond"])
            x = torch.cat([given["x"], given["cond_concat"]], 1)
            made += [lease.step(x, t).clone() for t in (1000.0, 500.0, 0.0)]
    return torch.cat(made)


def engines(mode, window, device="cuda"):
    eager = causal_model(mode, window, cls=OptimizedCausalWanModel).to(device, torch.bfloat16)
    graphed = OptimizedCausalWanModel(eager.config).to(device, torch.bfloat16).eval().requires_grad_(False)
    graphed.load_state_dict(eager.state_dict())
    return Engine(eager), Engine(graphed, graphs=True)


@pytest.mark.parametrize("mode", ["universal", "gta_drive", "templerun"])
@pytest.mark.parametrize(("window", "batch"), [(6, 1), (6, 2), (4, 1), (15, 1)])
def test_graph_equals_eager_bit_for_bit(mode, window, batch):
    eager, graphed = engines(mode, window)
    frames = 3 * (window // 3 + 3)
    for seed in (1, 2, 1):  # other image, other actions; and the first world again
        assert torch.equal(play(graphed, mode, frames, batch, seed), play(eager, mode, frames, batch, seed)), seed
    assert len(graphed._room.layers.graphs) == -(-window // 3), "one a filling state, then one for ever"


def test_other_sizes_in_turns_and_after_closing():
    eager, graphed = engines("universal", 6)
    for batch in (1, 2, 1):
        assert torch.equal(play(graphed, "universal", 12, batch), play(eager, "universal", 12, batch)), batch
    graphed.close()
    assert torch.equal(play(graphed, "universal", 12), play(eager, "universal", 12))


@pytest.mark.multi_gpu
def test_on_the_second_gpu_while_the_first_is_current():
    first, second = (engines("universal", 6, device)[1] for device in ("cuda:0", "cuda:1"))
    assert torch.cuda.current_device() == 0
    assert torch.equal(play(first, "universal", 12).cpu(), play(second, "universal", 12).cpu())
