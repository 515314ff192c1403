"""Graph = eager, bit for bit, past eviction and over several rollouts; on a GPU only."""

import pytest
import torch

from tests.wan.tiny_models import block_of, causal_inputs, causal_model
from wan.fast.causal import OptimizedCausalWanModel

pytestmark = pytest.mark.gpu


def models(mode, window):
    eager = causal_model(mode, window, cls=OptimizedCausalWanModel).to("cuda", torch.bfloat16)
    graphed = OptimizedCausalWanModel(eager.config).to("cuda", torch.bfloat16).eval().requires_grad_(False)
    graphed.load_state_dict(eager.state_dict())
    from wan.fast.graphs import capture_layers

    capture_layers(graphed)
    return eager, graphed


@pytest.mark.parametrize("mode", ["universal", "gta_drive", "templerun"])
@pytest.mark.parametrize(("window", "batch"), [(6, 1), (6, 2), (4, 1), (15, 1)])
@torch.inference_mode()
def test_graph_equals_eager_bit_for_bit(mode, window, batch):
    eager, graphed = models(mode, window)
    caches = eager.new_cache(batch, 4, 6), graphed.new_cache(batch, 4, 6)
    for seed in (1, 2):  # a second rollout on the same caches: other image, other actions
        inputs = causal_inputs(mode, 3 * (window // 3 + 3), batch, seed=seed)
        inputs = {k: v if v is None else v.to("cuda", torch.bfloat16) for k, v in inputs.items()}
        for cache in caches:
            cache.reset()
        for start in range(0, inputs["x"].shape[2], 3):
            given = block_of(inputs, start, 3)
            for t in (1000.0, 500.0, 0.0):
                want = eager(t=t, **given, cache=caches[0], start_frame=start)
                got = graphed(t=t, **given, cache=caches[1], start_frame=start)
                assert torch.equal(got, want), (seed, start, t)
    assert len(graphed.run_layers.captured) == -(-window // 3)  # one a filling state, then one for ever
