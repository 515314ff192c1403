"""The benchmark's cases of Wan2.2: counted as the plan counts, each of them right at a tiny size."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from mgcli.bench.expert import RELEASED, ExpertSize, expert_cases
from mgcli.bench.ladder import climb
from mgcli.bench.peers import with_diffusers
from mgcli.bench.timing import ONCE
from mgcli.bench.videos import video_case, ways
from mgcli.bench.work import flops, wan_forward
from wan.config import T2V_A14B, VAEConfig
from wan22.plan import forward_flops

CPU = torch.device("cpu")
TINY = ExpertSize(
    label="tiny",
    model=replace(T2V_A14B, dim=48, ffn_dim=96, freq_dim=32, num_heads=2, num_layers=2, text_dim=32, text_len=96),
    vae=VAEConfig(dim=4, num_res_blocks=1),
    latents=(5, 4, 6),
    size="48*32",
    dtype=torch.float32,
    vae_dtypes=(torch.float32,),
)


def test_arithmetic_is_the_plans():
    for tokens in (10920, 20280):
        counted = flops(wan_forward(T2V_A14B, tokens, T2V_A14B.text_len))
        assert counted == pytest.approx(forward_flops(T2V_A14B, tokens))
    assert counted / 1e12 == pytest.approx(830, abs=1)


def test_released_lengths_are_those_of_a_half_frame_run():
    assert RELEASED.lengths == (13, 7)
    assert set(RELEASED.goals) <= {case.name for case in expert_cases(RELEASED, CPU)}


@pytest.mark.parametrize("case", expert_cases(TINY, CPU), ids=lambda case: case.name)
def test_every_case_runs_and_is_right(case):
    rows = list(climb(case, CPU, ONCE))
    assert not [row for row in rows if row.wrong]
    assert [row.timing is None for row in rows] == [rung.cuda_only for rung in case.rungs]


def test_diffusers_computes_the_same():
    pytest.importorskip("diffusers")
    case = with_diffusers(expert_cases(TINY, CPU), TINY, CPU)[0]
    rungs = [rung for rung in case.rungs if rung.name in ("reference", "diffusers")]
    [reference, peer] = climb(replace(case, rungs=tuple(rungs)), CPU, ONCE)
    assert reference.name == "reference" and peer.name == "diffusers"
    assert peer.error < 1e-4, peer.note  # its rope is float64, its norms elsewhere


def test_recommended_is_the_preset():
    preset = yaml.safe_load((Path(__file__).parents[3] / "configs/wan22/recommended.yaml").read_text())
    assert ways()["recommended"] == preset
    assert "half frames, CFG truncation 5 and 3" in ways()


@pytest.mark.slow  # the gate runs the benchmark itself
def test_videos_of_every_acceleration():
    rows = list(climb(video_case(TINY, CPU), CPU, ONCE))
    assert [row.name for row in rows if not row.timing] == ["fp8", "recommended + fp8"]  # on a GPU only
    assert not [row for row in rows if row.wrong]
    assert [row.kind for row in rows] == ["exact"] + 6 * ["lossy"]
