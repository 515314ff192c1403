"""`mg bench` and `wan22 bench`: a report on screen and in files, JSON where it is asked for, an exit code that means something."""

import json
from dataclasses import replace

import pytest

from mgcli import mg, wan22_app
from mgcli.app.errors import run
from mgcli.bench import default_sizes as bench_sizes
from mgcli.bench import machine
from mgcli.bench import report as bench_report
from mgcli.bench.ladder import Case, Floor, Row
from mgcli.bench.timing import Timing
from mgcli.bench.work import Product
from tests.mgcli.bench.test_expert import TINY as TINY_EXPERT
from tests.mgcli.bench.test_ladder import TINY as TINY_GAME


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(bench_sizes, "GAME", TINY_GAME)
    monkeypatch.setattr(bench_sizes, "EXPERT", TINY_EXPERT)
    monkeypatch.setattr(machine, "BATCH_SECONDS", 1e-4)  # of numbers that nobody reads


def bench(app, *arguments, output):
    return run(app, ["bench", "--quick", "--device", "cpu", "--output_dir", str(output), *arguments])


def test_report_on_screen_and_in_files(tmp_path, capsys):
    assert bench(mg.app, "--only", "forward-6", output=tmp_path) == 0
    out = capsys.readouterr().out
    assert "{" not in out, "tables for people, JSON for programs"
    data = json.loads((tmp_path / "mg_forward-6.json").read_text())
    assert data.pop("files") == {kind: f"mg_forward-6.{kind}" for kind in ("md", "json", "png")}  # wherever it goes to
    [case] = data["cases"]
    names = [row["name"] for row in case["rows"] if row["median_ms"]]
    assert names[:2] == ["reference", "+ fused kernels"] and case["floor_ms"] > 0 and data["machine"]
    reference, fused, *_ = case["rows"]
    assert fused["speedup"] == pytest.approx(reference["median_ms"] / fused["median_ms"])
    assert reference["floor_share"] == pytest.approx(case["floor_ms"] / reference["median_ms"])
    assert (
        "+ CUDA graph: needs a CUDA GPU" in out and "| + fused kernels |" in (tmp_path / "mg_forward-6.md").read_text()
    )
    assert (tmp_path / "mg_forward-6.png").read_bytes().startswith(b"\x89PNG")


def test_only_json(tmp_path, capsys):
    assert bench(wan22_app.app, "--only", "forward-30", "--json", output=tmp_path) == 0
    data = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "wan22_forward-30.json").read_text())
    assert data.pop("files")["md"] == str(tmp_path / "wan22_forward-30.md") and kept.pop("files") and data == kept
    assert data["command"] == "wan22 bench" and [case["name"] for case in data["cases"]] == ["forward-30"]


@pytest.mark.parametrize("app, some", [(mg.app, "forward-6"), (wan22_app.app, "decode-float32")])
def test_list_measures_nothing(app, some, tmp_path, capsys):
    assert bench(app, "--list", "--json", output=tmp_path) == 0
    assert some in json.loads(capsys.readouterr().out)["cases"] and not list(tmp_path.iterdir())


def test_peers_are_asked_for_by_name(tmp_path, capsys):
    (tmp_path / "wan/modules").mkdir(parents=True)
    (tmp_path / "wan/modules/vae2_2.py").touch()
    assert bench(wan22_app.app, "--list", "--json", "--peers", "--official", str(tmp_path), output=tmp_path) == 0
    assert "forward-30" in json.loads(capsys.readouterr().out)["cases"]


@pytest.mark.parametrize(
    "arguments, said",
    [(["--only", "decoed"], "there are forward-6, decode"), (["--official", "."], "is no checkout of Matrix-Game-2")],
)
def test_mistakes(arguments, said, tmp_path, capsys):
    assert bench(mg.app, *arguments, output=tmp_path) == 2
    assert said in capsys.readouterr().err


def test_a_wrong_row_fails_the_run(tmp_path, capsys, monkeypatch):
    from mgcli.bench import run as benchmark

    def climb(case, *_, **__):
        yield Row(case.name, "reference", "exact", Timing(2.0, 2.0, 1, None), 0.0)
        yield Row(case.name, "+ mistake", "exact", Timing(1.0, 1.0, 1, None), 0.5, wrong=True, note="wrong")

    monkeypatch.setattr(benchmark, "climb", climb)
    assert bench(mg.app, "--only", "decode", output=tmp_path) == 1
    out = capsys.readouterr().out
    assert "5.0e-01 WRONG" in out and "wrong: decode, + mistake" in out


def test_where_nothing_could_be_timed_the_report_says_why(tmp_path, capsys, monkeypatch):
    from mgcli.bench import run as benchmark

    def climb(case, *_, **__):
        yield Row(case.name, "reference", "exact", wrong=True, note="out of memory")

    monkeypatch.setattr(benchmark, "climb", climb)
    assert bench(mg.app, "--only", "decode", output=tmp_path) == 1
    assert "with .json beside it" in capsys.readouterr().out
    assert {path.suffix for path in tmp_path.iterdir()} == {".md", ".json"}
    said = (tmp_path / "mg_decode.md").read_text()
    assert "reference: out of memory" in said and "ladder" not in said and "median" not in said


@pytest.mark.slow  # ten seconds for one line
def test_a_picture_that_fails_takes_no_report_with_it(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(bench_report, "draw", broken)
    assert bench(mg.app, "--only", "decode", output=tmp_path) == 1
    assert json.loads((tmp_path / "mg_decode.json").read_text())["cases"][0]["rows"][0]["median_ms"] > 0


def case_of(goal_ms, *rows):
    work = {Product(1, 1, 1): 1}
    case = Case("decode", "a decode", rungs=(), dtype=None, work=work, goal_ms=goal_ms, frames=12)
    return bench_report.case_data(case, Floor(5.0, 1.0), [Row("decode", *row) for row in rows])


def timed(ms):
    return Timing(ms, ms, 3, 1.5)


def test_goals_are_for_exact_rows_on_their_hardware():
    rows = [("reference", "exact", timed(100.0)), ("graph", "exact", timed(50.0)), ("tiny", "lossy", timed(10.0))]
    for goal, verdict in ((60.0, "reached"), (40.0, "missed")):
        data = case_of(goal, *rows)
        assert bench_report.heading(data, "NVIDIA H100 80GB HBM3").endswith(f"goal {goal} ms, {verdict}")
        assert "goal" not in bench_report.heading(data, "NVIDIA A100")
    lossy = data["rows"][2]
    assert lossy["speedup"] == 10 and lossy["frames_per_second"] == 1200 and lossy["floor_share"] is None


def test_columns_without_a_number_are_left_out():
    data = case_of(None, ("reference", "exact", replace(timed(100.0), peak_gib=None)), ("graph", "exact", None))
    names, rows = bench_report.known_columns(data["rows"])
    assert names == ["", "median", "p90", "speed-up", "floor", "fps"] and len(rows) == 1
