"""Seconds and GiB of a plan: near what whole videos took, from what this machine measured, and always with their source."""

import json
import re
from pathlib import Path

import pytest

from mgcli import wan22_app
from mgcli.app.errors import run
from mgcli.bench import default_sizes
from mgcli.bench.run import keep_speeds
from mgcli.bench.speeds import DECODES, FUSED, H100, H200, KNOWN, keep, kept, kept_file
from mgcli.video.estimate import estimate
from mgcli.video.request import wan22_request
from wan22.plan import planned

RESULTS = Path(__file__).parents[2] / "bench" / "results"
BENCH = json.loads((RESULTS / "h100_80gb_2026-11-21/wan22.json").read_text())
[VIDEO] = json.loads((RESULTS / "h100_80gb_2026-11-21/wan22_video.json").read_text())["cases"]
CLIP = ["--size", "832*480", "--frame_num", "49", "--sample_steps", "20"]
WAYS = {
    "exact": [],
    "half frames": ["--enable_half_frame_generation"],
    "recommended": ["--accel", "recommended"],
    "fp8": ["--fp8"],
    "recommended + fp8": ["--accel", "recommended", "--fp8"],
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """No results of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """A machine that says it has this GPU."""

    def pretend(name: str) -> None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{name}'\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return pretend


def plan(capsys, *flags: str) -> tuple[dict, str]:
    """As data, and the line for people."""
    assert run(wan22_app.app, ["plan", *CLIP, *flags, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["estimate"]
    assert run(wan22_app.app, ["plan", *CLIP, *flags]) == 0
    return data, capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("name", WAYS)
def test_it_is_near_whole_videos_that_were_measured(name, gpu, capsys):
    gpu(H100.hardware)
    [row] = [row for row in VIDEO["rows"] if row["name"] == name]
    data, _ = plan(capsys, *WAYS[name])
    assert data["seconds"] == pytest.approx(row["median_ms"] / 1000, rel=0.05)
    assert data["gib"]["both"] == pytest.approx(row["peak_gib"], abs=1.2)


def test_the_known_cards_are_what_was_measured(capsys):
    keep(BENCH)
    measured = kept(H100.hardware)
    for way, forwards in H100.forwards.items():
        for tokens, known in forwards.items():
            assert (known.ms, known.gib) == (
                round(measured.forwards[way][tokens].ms, 1),
                round(measured.forwards[way][tokens].gib, 2),
            )
    assert {case: round(m.ms, 1) for case, m in measured.decodes.items()} == {
        case: m.ms for case, m in H100.decodes.items()
    }
    assert set(H100.decodes) == set(DECODES) <= {case["name"] for case in BENCH["cases"]} and H100.date == BENCH["date"]
    engine = (RESULTS / "h200_2026-11-21/engine.md").read_text()
    for tokens, known in H200.forwards[FUSED].items():
        [last] = re.findall(rf"A14B forward, {tokens:,} tokens .*\| ([\d.,]+) \|$", engine, re.MULTILINE)
        assert float(last.replace(",", "")) == known.ms


def test_a_known_card_says_that_it_is_one(gpu, capsys):
    for name, speeds in KNOWN.items():
        gpu(name)
        data, line = plan(capsys)
        assert (data["source"], data["hardware"], data["this_machine"]) == ("known card", name, name)
        assert line.startswith(f"here ({name}): about ") and f"Measured on such a card on {speeds.date}" in line


def test_what_was_measured_here_comes_first(gpu, capsys):
    gpu(H100.hardware)
    twice = [
        case | {"rows": [row | {"median_ms": row["median_ms"] and 2 * row["median_ms"]} for row in case["rows"]]}
        for case in BENCH["cases"]
    ]
    before, _ = plan(capsys)
    keep_speeds(BENCH | {"cases": twice, "date": "2027-01-02"})
    assert "; wan22 plan knows this machine now\n" in capsys.readouterr().err
    data, line = plan(capsys)
    assert data["source"] == "bench" and data["file"] == str(kept_file(H100.hardware))
    assert data["seconds"] == pytest.approx(2 * before["seconds"], rel=0.01) and data["gib"] == before["gib"]
    assert "By wan22 bench of 2027-01-02, kept in " in line


def test_a_part_of_a_benchmark_leaves_the_rest():
    keep(BENCH)
    [decode] = [case for case in BENCH["cases"] if case["name"] == "decode-float16"]
    faster = decode | {"rows": [row | {"median_ms": 1.0} for row in decode["rows"]]}
    keep(BENCH | {"cases": [faster]})
    found = kept(BENCH["hardware"])
    assert found.decodes["decode-float16"].ms == 1 and found.forwards[FUSED].keys() == {20280, 10920}


def test_the_size_of_the_mini_is_not_kept(capsys, tmp_path):
    assert keep(BENCH | {"label": default_sizes.EXPERT.label}) is None
    assert run(wan22_app.app, ["bench", "--list"]) == 0
    assert not (tmp_path / "cache").exists()


def test_a_wrong_row_and_a_damaged_file_say_nothing():
    wrong = [case | {"rows": [row | {"wrong": True} for row in case["rows"]]} for case in BENCH["cases"]]
    keep(BENCH | {"cases": wrong})
    assert kept(BENCH["hardware"]) is None
    for text in ("", "[]", "{", '{"cases": 1}'):
        kept_file(BENCH["hardware"]).write_text(text)
        assert kept(BENCH["hardware"]) is None
    keep(BENCH)
    assert kept(BENCH["hardware"])


def test_another_machine_is_told_what_to_run(gpu, capsys, monkeypatch, tmp_path):
    gpu("NVIDIA GeForce RTX 4090")
    data, line = plan(capsys)
    assert data["source"] is None and line.startswith(
        "NVIDIA GeForce RTX 4090 was not measured in this way: wan22 bench measures it"
    )
    assert "On NVIDIA H100 80GB HBM3, 2026-11-21: about 51 s" in line
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    data, line = plan(capsys)
    assert data["this_machine"] is None and line.startswith("no NVIDIA GPU here")
    gpu(H100.hardware)
    assert plan(capsys, "--device", "cpu")[0]["source"] is None
    data, line = plan(capsys, "--dtype", "float32")
    assert data == {"source": None, "this_machine": H100.hardware} and "was never measured" in line


def test_what_is_far_from_what_was_measured_says_so(gpu, capsys):
    gpu(H100.hardware)
    data, line = plan(capsys, "--size", "1280*720", "--frame_num", "81")
    assert data["scaled_from_tokens"] == 20280 and "scaled up from forwards of 20,280 tokens" in line
    assert plan(capsys)[0]["scaled_from_tokens"] is None


def test_a_longer_run_takes_longer():
    def seconds(**flags) -> float:
        request = wan22_request({"size": "832*480", "frame_num": 49, **flags}, only_planned=True)
        return estimate(request, planned(request), H100).seconds

    assert seconds(sample_steps=40) == pytest.approx(2 * seconds(sample_steps=20), rel=0.02)
    assert seconds(frame_num=81) > 1.6 * seconds() and seconds(reference=True) > 1.4 * seconds() > 1.2 * seconds(
        fp8=True
    )
