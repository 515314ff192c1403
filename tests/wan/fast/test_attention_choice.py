"""The choice between attention backends: measured once, kept on disk, and left alone where it cannot be measured."""

import json
import logging
import sys
from types import ModuleType

import pytest
import torch

from wan.fast import attention_choice
from wan.modules import attention

SHAPE = (1, 1024, 2, 8)  # as many scores as are worth measuring


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Two backends on a clock of our own; `times` may be changed, `calls` lists what ran."""

    class Machine:
        times = {"cudnn": 2.0, "flash": 1.0}
        calls: list[str] = []
        kept = tmp_path / "cache" / "attention.json"

        def measure(self, call):
            self.calls.clear()
            call()
            return self.times[self.calls[0]]

        def forget(self):
            monkeypatch.setattr(attention_choice, "_known", {})

    def backend(name):
        def run(q, k, v):
            if machine.times[name] is None:
                raise RuntimeError("not for these tensors")
            machine.calls.append(name)
            return v

        return run

    machine = Machine()
    machine.forget()
    for name in machine.times:
        monkeypatch.setitem(attention._RUN, name, backend(name))
    monkeypatch.setitem(attention._chosen, "cpu", ("cudnn", "flash"))
    monkeypatch.setattr(attention_choice, "KEPT_IN", machine.kept)
    monkeypatch.setattr(attention_choice, "_milliseconds", machine.measure)
    monkeypatch.setattr(attention_choice, "_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return machine


def taken(machine, shape=SHAPE, **changes):
    machine.calls.clear()
    q = torch.zeros(shape, dtype=torch.bfloat16, **changes)
    attention.attend(q, q, q)
    return machine.calls[-1]


def test_the_faster_one_is_measured_once_logged_and_kept(machine, caplog):
    caplog.set_level(logging.INFO)
    assert taken(machine) == "flash" and "flash (cudnn 2.000 ms, flash 1.000 ms)" in caplog.text
    machine.times = {"cudnn": 1.0, "flash": 2.0}
    assert taken(machine) == "flash" and len(machine.calls) == 1
    machine.forget()  # another process
    assert taken(machine) == "flash" and len(machine.calls) == 1
    assert taken(machine, (2, *SHAPE[1:])) == "cudnn"  # another shape
    [shapes] = json.loads(machine.kept.read_text()).values()
    assert sorted(shapes.values()) == ["cudnn", "flash"]


def test_what_was_chosen_can_be_read(machine):
    assert taken(machine) == "flash" and taken(machine, (1, 1023, 2, 8)) == "cudnn"  # too small to measure
    machine.times = {"cudnn": 1.0, "flash": 2.0}
    taken(machine, (2, *SHAPE[1:]))
    first, second = (f"torch.bfloat16 {s} {s} {s}" for s in ("1x1024x2x8", "2x1024x2x8"))
    found = attention.in_use(torch.device("cpu"), torch.bfloat16)
    assert found == {"backends": ["cudnn", "flash"], "shapes": {first: "flash", second: "cudnn"}}
    assert attention.in_use(torch.device("cpu"), torch.float32)["backends"] == ["sdpa"]


def test_another_library_is_measured_anew(machine, monkeypatch):
    assert taken(machine) == "flash"
    machine.forget()
    machine.times = {"cudnn": 1.0, "flash": 2.0}
    monkeypatch.setattr(attention_choice, "_libraries", lambda: ["fa3-fwd 9"])
    assert taken(machine) == "cudnn"


@pytest.mark.parametrize(("flash", "name"), [(1.96, "cudnn"), (1.9, "flash"), (None, "cudnn")])
def test_only_a_clear_gain_counts(machine, flash, name):
    machine.times = {"cudnn": 2.0, "flash": flash}
    assert taken(machine) == name


@pytest.mark.parametrize("content", ["{", "[]", '{"a GPU": 3}', "\udcff"])
def test_a_broken_file_is_replaced(machine, content):
    machine.kept.parent.mkdir()
    machine.kept.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert taken(machine) == "flash"
    machine.forget()
    machine.times = {"cudnn": 1.0, "flash": 2.0}
    assert taken(machine) == "flash"


@pytest.mark.parametrize("name", [["cudnn"], None, 1])
def test_what_is_no_name_is_replaced(machine, name):
    assert taken(machine) == "flash"
    right = machine.kept.read_text()
    machine.kept.write_text(right.replace('"flash"', json.dumps(name)))
    machine.forget()
    assert machine.kept.read_text() != right
    assert taken(machine) == "flash" and machine.kept.read_text() == right


def test_a_file_that_cannot_be_written_costs_a_warning(machine, caplog):
    machine.kept.parent.write_text("a file where the folder should be")
    assert taken(machine) == "flash" and "is not kept" in caplog.text


def test_the_first_one_where_nothing_can_be_measured(machine, monkeypatch):
    assert taken(machine, (1, 1023, 2, 8)) == "cudnn"  # too small to matter
    assert taken(machine, requires_grad=True) == "cudnn"
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert taken(machine) == "cudnn" and not machine.kept.exists()


def test_what_is_known_holds_while_a_graph_is_captured(machine, monkeypatch):
    assert taken(machine) == "flash"
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert taken(machine) == "flash"


@pytest.mark.multi_gpu
def test_a_second_gpu_is_measured_on_its_own_stream(monkeypatch, tmp_path):
    monkeypatch.setattr(attention_choice, "KEPT_IN", tmp_path / "attention.json")
    monkeypatch.setattr(attention_choice, "_known", {})
    current = set()

    def backend(q, k, v):
        current.add(torch.cuda.current_device())
        return q + k + v

    q, graph = torch.zeros(SHAPE, dtype=torch.bfloat16, device="cuda:1"), torch.cuda.CUDAGraph()
    with torch.cuda.device(1), torch.cuda.graph(graph, stream=torch.cuda.Stream(1)), torch.cuda.device(0):
        assert attention_choice.fastest({"first": backend, "second": backend}, q, q, q) == "first"
        q.zero_()
    assert not current and not attention_choice._known  # the stream that captures is not the current device's
    attention_choice.fastest({"first": backend, "second": backend}, q, q, q)
    assert current == {1} and torch.cuda.current_device() == 0


def test_asked_for_by_name_nothing_is_measured(machine, monkeypatch):
    monkeypatch.setitem(attention._chosen, "cpu", ("cudnn",))
    assert taken(machine) == "cudnn" and not machine.kept.exists()


def test_auto_finds_all_that_work(machine, monkeypatch):
    monkeypatch.setattr(attention, "_why_not", lambda name, device: None)
    assert attention.use_backend("auto", "cpu") == "cudnn or flash" and attention._chosen["cpu"] == ("cudnn", "flash")
    monkeypatch.setattr(attention, "_why_not", lambda name, device: "broken" if name == "cudnn" else None)
    assert attention.use_backend("auto", "cpu") == "flash" and attention._chosen["cpu"] == ("flash",)


def test_version_3_comes_before_version_2(monkeypatch):
    attention._flash_function.cache_clear()
    for name in ("flash_attn", "fa3_fwd_interface"):
        module = ModuleType(name)
        module.flash_attn_func = lambda q, k, v, name=name: (name, "log-sum-exp")
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "flash_attn_interface", None)  # not installed
    assert attention._flash(None, None, None) == "fa3_fwd_interface"
    attention._flash_function.cache_clear()
