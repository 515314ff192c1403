"""The table of docs/files-and-card.md that is counted and not measured: what the tool itself counts before a run."""

import pytest
import torch

from tests.docs.pages import ROOT, rows
from wan.config import T2V_A14B
from wan.device import GIB
from wan22.config import Request
from wan22.memory import needs, released_model
from wan22.plan import planned

VIDEOS = (Request(size="832*480", frame_num=49), Request(size="1280*720", frame_num=81))


@pytest.mark.parametrize(
    ("name", "residency"), [("both", "both"), ("one", "one"), ("stream, disk", "stream"), ("stream, disk", "disk")]
)
def test_what_has_to_be_on_the_gpu(name: str, residency: str):
    [row] = [row for row in rows(ROOT / "docs" / "files-and-card.md") if row[0].strip() == name]
    models = [released_model(T2V_A14B, torch.bfloat16, fp8) for fp8 in (False, True)]
    tokens = [max(step.seq_len for step in planned(video).steps) for video in VIDEOS]
    counted = [needs(model, count).on_device(residency) / GIB for model in models for count in tokens]
    assert [cell.strip() for cell in row[1:]] == [f"{gib:.1f}" for gib in counted]
