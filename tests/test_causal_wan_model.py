"""The causal model's own suite: correctness, caches, speed, and the optimized model against the reference.

On a GPU the released size (1.6 B parameters, 352x640) with random weights in bf16; elsewhere the same tests on a small
configuration, and they say so. Run it with tests/run_tests.sh. MODEL_CHECKPOINT_PATH points it at released weights.
"""

import copy
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from wan.config import UNIVERSAL, CausalConfig
from wan.fast.causal import OptimizedCausalWanModel
from wan.fast.engine import Engine
from wan.modules.causal_model import CausalWanModel

BASELINE = Path(__file__).parent / "baseline_performance.txt"
FRAMES = 3  # num_frame_per_block
CACHE_FRAMES = 15  # the notes' caches hold 15 latent frames whatever the window


@dataclass(frozen=True)
class Size:
    config: CausalConfig
    height: int
    width: int
    visual_tokens: int

    @property
    def tokens(self) -> int:
        return self.height * self.width // 4


FULL = Size(UNIVERSAL, 44, 80, 257)
SMALL = Size(
    replace(
        UNIVERSAL,
        dim=64,
        ffn_dim=128,
        num_heads=2,
        num_layers=3,
        visual_dim=32,
        action_config=replace(
            UNIVERSAL.action_config, blocks=(0, 1), heads_num=2, hidden_size=16, img_hidden_size=64,
            keyboard_hidden_dim=128, mouse_hidden_dim=128,
        ),
    ),
    8, 12, 5,
)  # fmt: skip


def cache_shapes(size: Size, batch: int = 1) -> dict[str, list[int]]:
    """Keys (and values) of each kind of cache, a layer."""
    config, action = size.config, size.config.action_config
    head = config.dim // config.num_heads
    return {
        "kv_cache": [batch, CACHE_FRAMES * size.tokens, config.num_heads, head],
        "kv_cache_keyboard": [batch, CACHE_FRAMES, action.heads_num, action.keyboard_hidden_dim // action.heads_num],
        "kv_cache_mouse": [
            batch * size.tokens,
            CACHE_FRAMES,
            action.heads_num,
            action.mouse_hidden_dim // action.heads_num,
        ],  # fmt: skip
        "crossattn_cache": [batch, size.visual_tokens, config.num_heads, head],
    }


def official_caches(size: Size, device, dtype) -> dict[str, list[dict]]:
    """Lists of dicts as the official pipeline allocates them."""

    def layer(name, shape):
        entry = {
            "k": torch.zeros(shape, device=device, dtype=dtype),
            "v": torch.zeros(shape, device=device, dtype=dtype),
        }
        if name == "crossattn_cache":
            return entry | {"is_init": False}
        zero = torch.zeros(1, dtype=torch.long, device=device)
        return entry | {"global_end_index": zero, "local_end_index": zero.clone()}

    shapes = cache_shapes(size)
    return {name: [layer(name, shape) for _ in range(size.config.num_layers)] for name, shape in shapes.items()}


def load_weights(model: CausalWanModel) -> None:
    path = os.environ.get("MODEL_CHECKPOINT_PATH")
    if path:
        from safetensors.torch import load_file

        model.load_state_dict({k.removeprefix("model."): v for k, v in load_file(path).items()})


def as_optimized(model: CausalWanModel) -> OptimizedCausalWanModel:
    optimized = OptimizedCausalWanModel(model.config).to(model.device, model.dtype).eval().requires_grad_(False)
    optimized.load_state_dict(model.state_dict())
    return optimized


@torch.no_grad()
def latencies(call, warmup: int, iterations: int) -> torch.Tensor:
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    times = []
    for i in range(warmup + iterations):
        wait()
        start = time.perf_counter()
        call()
        wait()
        if i >= warmup:
            times.append((time.perf_counter() - start) * 1000)
    return torch.tensor(times)


def summary(name: str, ms: torch.Tensor) -> str:
    p = {n: ms.quantile(q).item() for n, q in (("Median", 0.5), ("P95", 0.95), ("P99", 0.99))}
    lines = [f"{name}", f"Mean: {ms.mean():.2f} ms", *(f"{n}: {v:.2f} ms" for n, v in p.items())]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def dtype():
    return torch.bfloat16


@pytest.fixture(scope="module")
def size(device):
    if device.type == "cuda":
        return FULL
    print("\nno GPU: a small configuration stands in for the released one")
    return SMALL


@pytest.fixture(scope="module")
def original_model(size, device, dtype):
    torch.manual_seed(0)
    with torch.device(device):
        model = CausalWanModel.from_config(size.config)
    load_weights(model)
    model.num_frame_per_block = FRAMES
    return model.to(dtype=dtype).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def test_inputs(size, device, dtype):
    def normal(*shape):
        return torch.randn(*shape, device=device, dtype=dtype)

    torch.manual_seed(1)
    actions = 1 + 4 * (FRAMES - 1)
    return {
        "x": normal(1, 16, FRAMES, size.height, size.width),
        "t": torch.full((1, FRAMES), 500, device=device),
        "visual_context": normal(1, size.visual_tokens, size.config.visual_dim),
        "cond_concat": normal(1, 20, FRAMES, size.height, size.width),
        "mouse_cond": normal(1, actions, 2),
        "keyboard_cond": normal(1, actions, 4),
    }


@pytest.fixture
def kv_cache_structure(size, device, dtype):
    return official_caches(size, device, dtype)


class TestCausalWanModel:
    @torch.no_grad()
    def test_forward_correctness(self, original_model, test_inputs):
        """Without a cache: shape, finite, and sensitive to every input."""
        output = original_model(**test_inputs)
        assert output.shape == test_inputs["x"].shape
        assert output.isfinite().all()
        assert 1e-3 < output.float().std() < 1e3
        for name in ("x", "visual_context", "cond_concat", "mouse_cond", "keyboard_cond"):
            changed = original_model(**test_inputs | {name: -test_inputs[name]})
            assert not torch.equal(changed, output), f"{name} has no effect"
        print(f"\noutput {tuple(output.shape)}, mean {output.float().mean():.4f}, std {output.float().std():.4f}")

    @torch.no_grad()
    def test_forward_with_kv_cache(self, original_model, test_inputs, kv_cache_structure, size):
        """With the official caches: the first block equals the forward without, and the caches say what they hold."""
        assert cache_shapes(FULL) == {
            "kv_cache": [1, 13200, 12, 128],
            "kv_cache_keyboard": [1, 15, 16, 64],
            "kv_cache_mouse": [880, 15, 16, 64],
            "crossattn_cache": [1, 257, 12, 128],
        }
        output = original_model(**test_inputs, **kv_cache_structure, current_start=0)
        whole = original_model(**test_inputs)
        # one block attends to all of itself either way; bf16 attention may sum in another order
        assert (output - whole).float().norm() / whole.float().norm() < 1e-2
        first, last = kv_cache_structure["kv_cache"][0], kv_cache_structure["kv_cache"][-1]
        for entry in (first, last):
            assert int(entry["global_end_index"]) == int(entry["local_end_index"]) == FRAMES * size.tokens
            assert entry["k"][:, : FRAMES * size.tokens].abs().sum() > 0
            assert entry["k"][:, FRAMES * size.tokens :].abs().sum() == 0
        assert int(kv_cache_structure["kv_cache_keyboard"][0]["global_end_index"]) == FRAMES
        assert int(kv_cache_structure["kv_cache_mouse"][0]["global_end_index"]) == FRAMES
        assert all(entry["is_init"] for entry in kv_cache_structure["crossattn_cache"])

    @pytest.mark.parametrize(("num_warmup", "num_iterations"), [(3, 10)])
    def test_performance_benchmark(self, original_model, test_inputs, kv_cache_structure, size, num_warmup, num_iterations):  # fmt: skip
        """Writes the baseline: the reference as the official pipeline calls it, and the optimized model as we call it."""

        def official():
            for entries in kv_cache_structure.values():
                for entry in entries:
                    if "is_init" in entry:
                        entry["is_init"] = False
                    else:
                        entry["global_end_index"].zero_()
                        entry["local_end_index"].zero_()
            original_model(**test_inputs, **kv_cache_structure, current_start=0)

        optimized = as_optimized(original_model)
        engine = Engine(optimized, graphs=torch.cuda.is_available())
        lease = engine.begin(test_inputs["visual_context"], size.height, size.width, FRAMES)
        lease.open_block(0, test_inputs["mouse_cond"], test_inputs["keyboard_cond"])
        x = torch.cat([test_inputs["x"], test_inputs["cond_concat"]], dim=1)
        baseline = latencies(official, num_warmup, num_iterations)
        fast = latencies(lambda: lease.step(x, 500.0), num_warmup, num_iterations)
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, small configuration"
        text = f"{where}, PyTorch {torch.__version__}\n\n{summary('Original Model Baseline', baseline)}\n{summary('Optimized Model', fast)}"  # fmt: skip
        BASELINE.write_text(text)
        print(f"\n{text}written to {BASELINE}")
        assert fast.isfinite().all() and baseline.min() > 0

    @torch.no_grad()
    def test_model_comparison(self, original_model, test_inputs, kv_cache_structure):
        """The optimized model is the same function (float32), and no less precise than the reference in bf16."""
        optimized = as_optimized(original_model)
        exact = copy.deepcopy(original_model).float()
        wide = {k: v.float() for k, v in test_inputs.items()}
        cache = exact.new_cache(1, *wide["x"].shape[3:], FRAMES)
        want = exact(**wide, cache=cache)

        # The same bf16 weights run in float32: the tolerances of the notes, absolute.
        same = as_optimized(exact)(**wide, cache=as_optimized(exact).new_cache(1, *wide["x"].shape[3:], FRAMES))
        difference = (same - want).abs()
        print(f"\nfloat32: max difference {difference.max():.2e}, mean {difference.mean():.2e}")
        assert difference.max() < 1e-2 and difference.mean() < 1e-3

        # In bf16 two correct orders of summation differ by more than that, so each is held to the float32 result.
        def error(output):
            return ((output.float() - want).norm() / want.norm()).item()

        reference = error(original_model(**test_inputs, **kv_cache_structure, current_start=0))
        fast = error(optimized(**test_inputs, cache=optimized.new_cache(1, *wide["x"].shape[3:], FRAMES)))
        print(f"bf16: relative error to float32, reference {reference:.2e}, optimized {fast:.2e}")
        assert fast <= 1.1 * reference
