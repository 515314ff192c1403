"""Where the experts are and when: overlap of loading and working, nothing half-loaded, failures early, memory let go."""

import threading
import time
import weakref
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.wan.checkpoints import write_config
from tests.wan.tiny_models import wan_model
from wan.config import T2V_A14B
from wan.fast.offload import RING, stream_from_file
from wan.fast.speed import Speed
from wan.files.checkpoint import load_wan
from wan.files.loading import Finish
from wan22.experts import Experts
from wan22.memory import Needs, choose_residency, needs, released_model

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


class Files:
    """An expert in a file, and how it is loaded."""

    def __init__(self, folder, **config):
        self.model = wan_model(**config)
        write_config(folder, self.model.config)
        save_file(self.model.state_dict(), folder / "expert.safetensors")
        self.path, self.read = folder / "expert.safetensors", 0

    def __call__(self, expert, where):
        stream = where.blocks and partial(stream_from_file, finish=Finish(), device=where.device, slots=where.blocks)
        dtype = torch.float32 if where.device.type == "cpu" else torch.bfloat16
        return load_wan(self.path, device=where.device, dtype=dtype, finish=Finish(stream=stream or None))


@pytest.mark.parametrize("residency", ["stream", "disk"])
def test_streaming_gives_the_same_result(tmp_path, residency):
    files = Files(tmp_path, num_layers=7)
    x, text = torch.randn(1, 16, 2, 4, 4), [torch.randn(5, 24)]
    want = files.model(x, torch.tensor([500.0]), text)
    experts = Experts(files, "cpu", residency)
    for expert in ("high", "high", "low"):
        for _ in range(2):
            torch.testing.assert_close(experts.get(expert)(x, torch.tensor([500.0]), text), want, atol=0, rtol=0)
    host = experts.get("low")._host_blocks
    assert host.made == (7 if residency == "stream" else RING)
    experts.close()
    assert not host.ready and not any(reader.is_alive() for reader in host.readers)


def test_a_forward_that_was_broken_off_does_not_hold_up_the_next(tmp_path):
    files = Files(tmp_path, num_layers=7)
    x, text = torch.randn(1, 16, 2, 4, 4), [torch.randn(5, 24)]
    want = files.model(x, torch.tensor([500.0]), text)
    experts = Experts(files, "cpu", "disk")
    model = experts.get("high")

    def stop(*_):
        raise KeyboardInterrupt

    for at in range(7):
        broken = model.blocks[at].norm1.register_forward_hook(stop)
        with pytest.raises(KeyboardInterrupt):
            model(x, torch.tensor([500.0]), text)
        broken.remove()
        torch.testing.assert_close(model(x, torch.tensor([500.0]), text), want, atol=0, rtol=0)
    experts.close()


def test_a_file_that_ends_early_is_said_and_does_not_hang(tmp_path):
    files = Files(tmp_path, num_layers=7)
    model = Experts(files, "cpu", "disk").get("high")
    with files.path.open("r+b") as file:
        file.truncate(files.path.stat().st_size // 2)
    with pytest.raises(ValueError, match="ends inside a tensor"):
        for _ in range(2):
            model(torch.randn(1, 16, 2, 4, 4), torch.tensor([500.0]), [torch.randn(5, 24)])


def test_one_expert_is_on_the_host_at_a_time(tmp_path):
    """The second is not begun before the first is given up."""
    files, began = Files(tmp_path), []

    def load(expert, where):
        began.append(expert)
        return files(expert, where)

    experts = Experts(load, "cpu", "stream")
    high = experts.get("high")
    high(torch.randn(1, 16, 2, 4, 4), torch.tensor([500.0]), [torch.randn(5, 24)])
    host = high._host_blocks
    assert began == ["high"] and len(host.ready) == len(high.blocks)
    experts.get("low")
    assert began == ["high", "low"] and not host.ready
    experts.close()


def test_without_room_on_the_host_the_next_one_waits_in_its_file():
    began = []

    def load(expert, where):
        began.append((expert, where.device.type))
        return nn.Linear(1, 1)

    experts = Experts(load, "cpu", "one", ahead=False)
    experts.get("high")
    assert began == [("high", "cpu")]
    experts.get("low")
    assert [name for name, _ in began] == ["high", "low"]


@pytest.mark.gpu
@pytest.mark.parametrize("residency", ["stream", "disk"])
def test_streaming_on_a_gpu_gives_the_same_result_in_the_memory_of_a_few_blocks(tmp_path, residency):
    files = Files(tmp_path, dim=480, ffn_dim=4800, num_heads=4, num_layers=12)
    x, t, text = torch.randn(1, 16, 2, 4, 4).cuda(), torch.tensor([500.0]).cuda(), [torch.randn(5, 24).cuda()]
    want = Experts(files, "cuda", "both").get("low")(x, t, text)
    experts = Experts(files, "cuda", residency)
    streamed = experts.get("low")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        torch.testing.assert_close(streamed(x, t, text), want, atol=0, rtol=0)
    blocks = sum(p.nbytes for p in files.model.to(torch.bfloat16).blocks.parameters())
    assert torch.cuda.max_memory_allocated() - before < blocks / 2  # three blocks of twelve, and activations
    experts.close()


def test_the_residency_is_the_fastest_that_fits():
    expert = needs(released_model(T2V_A14B, torch.bfloat16), 32760)
    assert expert.expert == pytest.approx(28.6e9, rel=0.01)
    eighth = needs(released_model(T2V_A14B, torch.bfloat16, fp8=True), 32760)
    assert eighth.expert == pytest.approx(16.6e9, rel=0.02)  # a byte a weight, but for keys and values of the prompt
    plenty = 200 * GB
    assert choose_residency(expert, 79 * GB, plenty) == "both"
    assert choose_residency(expert, 47 * GB, plenty) == "one"
    assert choose_residency(expert, 24 * GB, plenty) == "stream"
    assert choose_residency(expert, 24 * GB, 16 * GB) == "disk"
    read = replace(expert, as_stored=True)  # computing nothing of it: the system's cache of files is fast
    assert choose_residency(read, 24 * GB, plenty) == "disk"
    assert choose_residency(eighth, 24 * GB, 16 * GB) == "one"
    assert choose_residency(eighth, 12 * GB, 24 * GB) == "stream"


def test_what_fits_nowhere_is_tried_in_the_least_memory():
    assert choose_residency(Needs(10, 1, 1, 100), 5, 5) == "disk"


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
