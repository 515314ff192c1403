"""The gate itself, on a CPU: its last run is whole, it runs at all, and a leg that fails is one that failed and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.leg import Failed, Setting, Skipped, leg
from tests.gpu.process import FAILED, PASSED, ROOT, SKIPPED

KEPT = {"commit", "date", "versions", "seconds", "passed", "legs"}
ROW = {"name", "result", "seconds", "note", "proves", "hardware"}


@leg(1)
def good(setting: Setting) -> str:
    """It passes."""
    return f"in {setting.own('good').name}"


@leg(1)
def bad(setting: Setting) -> str:
    """It fails."""
    raise Failed("not so\nand more")


@leg(1)
def dead(setting: Setting) -> str:
    """It takes its process down."""
    os._exit(3)


@leg(1)
def absent(setting: Setting) -> str:
    """It cannot run."""
    raise Skipped("no such thing here")


@leg(1)
def slow(setting: Setting) -> str:
    """It hangs."""
    subprocess.run(["sleep", "100"])
    return ""


@leg(1, "good", "bad")
def after(setting: Setting) -> str:
    """It needs two others."""
    return ""


SAMPLE = (good, bad, dead, absent, after)


def test_a_leg_that_fails_fails_alone(tmp_path: Path):
    from tests.gpu.gate import Limits, run

    ended = {one.name: (outcome, log) for one, outcome, log in run(SAMPLE, Setting(tmp_path), Limits(3, 60))}
    assert {name: (outcome.result, outcome.note) for name, (outcome, _) in ended.items()} == {
        "good": (PASSED, "in good"),
        "bad": (FAILED, "not so"),
        "dead": (FAILED, "its process ended with code 3"),
        "absent": (SKIPPED, "no such thing here"),
        "after": (FAILED, "bad failed"),
    }
    assert "tests.gpu.leg.Failed: not so" in ended["bad"][1] and not ended["good"][1]
    assert ended["good"][0].seconds > 0


def test_a_leg_that_hangs_is_ended_when_the_time_is_up(tmp_path: Path):
    from tests.gpu.gate import Limits, run

    ended = {one.name: outcome for one, outcome, _ in run([slow, absent], Setting(tmp_path), Limits(1, 2))}
    assert {outcome.result for outcome in ended.values()} == {FAILED}
    assert ended["slow"].note.startswith("no end after") and ended["absent"].note == "2 s were over"


def test_every_leg_says_what_it_proves_and_needs_what_there_is():
    from tests.gpu.gate import LEGS

    for one in LEGS.values():
        assert one.proves.endswith(".") and one.seconds > 0, one.name
        assert set(one.needs) <= LEGS.keys(), one.name


def test_the_last_run_is_of_every_leg():
    from tests.gpu import report
    from tests.gpu.gate import LEGS

    kept = report.read(report.LAST_RUN)
    if kept is None:
        pytest.skip("no run has been kept")
    assert kept.keys() == KEPT and kept["commit"] and kept["versions"]["torch"]
    assert [row["name"] for row in kept["legs"]] == list(LEGS), "a leg has come or gone: make test-gpu"
    for row in kept["legs"]:
        assert row.keys() == ROW and row["result"] in (PASSED, FAILED, SKIPPED) and "rehears" not in row["hardware"]
    assert kept["passed"] == all(row["result"] != FAILED for row in kept["legs"])


def test_some_legs_take_the_place_of_theirs_in_a_run_of_the_same_commit():
    from tests.gpu.report import merged

    whole = {"commit": "a", "passed": False, "seconds": 9, "legs": [{"name": n, "result": FAILED} for n in "xy"]}
    part = {"commit": "a", "passed": True, "seconds": 1, "legs": [{"name": "y", "result": PASSED}]}
    results = [one["result"] for one in merged(part, whole)["legs"]]
    assert results == [FAILED, PASSED] and merged(part, whole)["seconds"] == 9 and not merged(part, whole)["passed"]
    assert merged(part | {"commit": "b"}, whole) is None and merged(part, None) is None


def test_the_fastest_leg_of_a_rehearsal(tmp_path: Path):
    before = (ROOT / "tests/gpu/last_run.json").exists()
    asked = [sys.executable, "-m", "tests.gpu", "--rehearse", "--only", "mg_frames", "--folder", str(tmp_path)]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "passed  mg_frames" in done.stdout and "1 passed, " in done.stdout, done.stdout
    [row] = json.loads((tmp_path / "last_run.json").read_text())["legs"]
    assert (row["name"], row["result"], row["note"]) == ("mg_frames", PASSED, "597 frames")
    assert (ROOT / "tests/gpu/last_run.json").exists() == before, "a rehearsal proves nothing of a GPU"


def test_the_cpu_reference_has_a_number_for_everything_that_is_compared():
    from tests.gpu.cpu_reference import FILE
    from tests.gpu.measures import PROMPTS, WALKS

    kept = json.loads(FILE.read_text())
    assert all(len(kept["worlds"][name]["db"]) == WALKS for name in ("alone", "batch"))
    assert len(kept["clips"]["db"]) == PROMPTS and kept["clips"]["exact"]["shape"] > 0.7


def test_no_kernel_is_left_out():
    pytest.importorskip("triton", reason="Triton is not installed (it exists for Linux only)")
    from tests.gpu.kernels_alone import CALLS

    sources = (ROOT / "wan/fast/kernels").glob("triton_*.py")
    public = {
        line[4 : line.index("(")]
        for path in sources
        for line in path.read_text().splitlines()
        if line.startswith("def ")
    }
    assert {call.__name__ for call in CALLS} == {name for name in public if not name.startswith("_")}


def test_what_differs_is_said():
    import torch

    from tests.gpu.doors import same_tensor

    want = torch.zeros(1, 2, 3, 4)
    got = want.clone()
    got[:, :, 1:] = 0.5
    same_tensor(want.clone(), want, "zeros", frames=2)
    with pytest.raises(Failed, match="ones differ from frame 1 on, by up to 0.5"):
        same_tensor(got, want, "ones", frames=2)
