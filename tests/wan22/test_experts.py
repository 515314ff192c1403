"""Where the experts are and when: overlap of loading and working, nothing half-loaded, failures early, memory let go."""

import copy
import threading
import time
import weakref

import pytest
import torch
from torch import nn

from tests.wan.tiny_models import wan_model
from wan.config import T2V_A14B
from wan.fast.speed import Speed
from wan22.experts import Experts
from wan22.memory import activation_bytes, choose_residency, expert_bytes

GB = 1024**3


class SlowLoader:
    """Loads in two halves; `low` does not finish before `finish_low` is set."""

    def __init__(self):
        self.events: list[str] = []
        self.finish_low = threading.Event()
        self.low_began = threading.Event()

    def __call__(self, expert, device):
        self.events.append(f"begin {expert}")
        model = nn.Linear(2, 2).requires_grad_(False)
        model.weight.fill_(torch.nan)
        if expert == "low":
            self.low_began.set()
            assert self.finish_low.wait(10)
        model.weight.fill_(1.0 if expert == "high" else 2.0)
        self.events.append(f"end {expert}")
        return model


@pytest.mark.parametrize("residency", ["both", "one"])
def test_the_second_expert_loads_while_the_first_works_and_is_never_used_half_loaded(residency):
    loader = SlowLoader()
    experts = Experts(loader, "cpu", residency)
    for _ in range(3):
        assert experts.get("high").weight[0, 0] == 1
        assert loader.low_began.wait(10)  # before the high-noise steps are over
        loader.events.append("high step")
    threading.Timer(0.05, loader.finish_low.set).start()
    assert experts.get("low").weight[0, 0] == 2
    assert loader.events == ["begin high", "end high", "begin low", "high step", "high step", "high step", "end low"]


def test_overlap_saves_the_time_of_the_load():
    loaded = threading.Event()

    def load(expert, device):
        time.sleep(0.1)
        if expert == "low":
            loaded.set()
        return nn.Linear(1, 1)

    experts = Experts(load, "cpu", "one")
    experts.get("high")
    assert loaded.wait(10)  # during the high-noise steps, before anybody asks for it
    assert isinstance(experts.get("low"), nn.Linear)


def test_a_load_that_fails_stops_the_run_before_the_switch():
    def load(expert, device):
        if expert == "low":
            raise FileNotFoundError("shard 3 of 6 is missing")
        return nn.Linear(1, 1)

    experts = Experts(load, "cpu", "both")
    with pytest.raises(FileNotFoundError, match="shard 3 of 6"):
        for _ in range(100):
            experts.get("high")
            time.sleep(0.01)


@pytest.mark.parametrize(("residency", "high_stays"), [("both", True), ("one", False)])
def test_one_at_a_time_lets_the_first_go_at_the_switch(residency, high_stays):
    experts = Experts(lambda expert, device: nn.Linear(1, 1), "cpu", residency)
    high = weakref.ref(experts.get("high"))
    experts.get("low")
    assert (high() is not None) == high_stays


def test_streaming_gives_the_same_result_and_keeps_the_blocks_on_the_host():
    model, x, text = wan_model(), torch.randn(1, 16, 2, 4, 4), [torch.randn(5, 24)]
    want = model(x, torch.tensor([500.0]), text)
    where = [p.data_ptr() for p in model.blocks.parameters()]
    streamed = Experts(lambda expert, device: model, "cpu", "stream").get("low")
    for _ in range(2):
        torch.testing.assert_close(streamed(x, torch.tensor([500.0]), text), want, atol=0, rtol=0)
        assert [p.data_ptr() for p in streamed.blocks.parameters()] == where


@pytest.mark.gpu
def test_streaming_on_a_gpu_gives_the_same_result_in_the_memory_of_a_few_blocks():
    model = wan_model(dim=480, ffn_dim=4800, num_heads=4, num_layers=12).to(torch.bfloat16)
    x, t, text = torch.randn(1, 16, 2, 4, 4).cuda(), torch.tensor([500.0]).cuda(), [torch.randn(5, 24).cuda()]
    want = Experts(lambda expert, device: copy.deepcopy(model).to(device), "cuda", "both").get("low")(x, t, text)
    streamed = Experts(lambda expert, device: model, "cuda", "stream").get("low")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        torch.testing.assert_close(streamed(x, t, text), want, atol=0, rtol=0)
    blocks = sum(p.nbytes for p in model.blocks.parameters())
    assert torch.cuda.max_memory_allocated() - before < blocks / 2  # three blocks of twelve, and activations


def test_the_residency_is_the_fastest_that_fits():
    expert = expert_bytes(T2V_A14B, torch.bfloat16)
    assert expert == pytest.approx(28.6e9, rel=0.01)
    eighth = expert_bytes(T2V_A14B, torch.bfloat16, fp8=True)
    assert eighth == pytest.approx(16.6e9, rel=0.02)  # a byte a weight, but for keys and values of the prompt
    work = activation_bytes(T2V_A14B, 32760)
    assert choose_residency(79 * GB, expert, work) == "both"
    assert choose_residency(47 * GB, expert, work) == "one"
    assert choose_residency(24 * GB, expert, work) == "stream"


@pytest.mark.slow  # a compilation takes half a minute on a CPU
@pytest.mark.parametrize("compiled", [False, True])
def test_the_first_expert_is_gone_at_the_switch(compiled):
    speed, x, prompt = Speed(compile=compiled), torch.randn(1, 16, 2, 4, 6), [torch.randn(5, 24)]

    def load(_expert, _device):
        model = speed.wan_class(wan_model().config).eval().requires_grad_(False)
        speed.finish_wan(model)
        return model

    experts = Experts(load, "cpu", "one")
    high = experts.get("high")
    high(x, 500.0, prompt)
    weight = weakref.ref(high.blocks[0].self_attn.o.weight)
    del high
    experts.get("low")
    assert weight() is None
