"""The parts of a folder: what their weights say counts, whatever stands beside them."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from tests.tiny_checkpoints import tiny_expert, write_wan22
from wan.config import WAN_MODELS
from wan22.config import TASKS
from wan22.experts import Where
from wan22.parts import Parts
from wan22.places import find_places


@pytest.mark.parametrize("stale", [{"num_layers": 3}, {"ffn_dim": 64, "text_len": 512}, {"model_type": "i2v"}])
def test_the_weights_decide_the_architecture_and_not_a_stale_config(tmp_path, monkeypatch, stale):
    monkeypatch.setitem(WAN_MODELS, "t2v-A14B", tiny_expert())  # as small as the checkpoint
    folder = write_wan22(tmp_path / "t2v")
    for expert in ("high_noise_model", "low_noise_model"):
        (folder / expert / "config.json").write_text(json.dumps(asdict(replace(tiny_expert(), **stale))))
    task = TASKS["t2v-A14B"]
    parts = Parts(find_places(folder, task), task, "cpu", torch.float32)
    assert parts.config == tiny_expert() == parts.load_expert("high", Where(torch.device("cpu"))).config
