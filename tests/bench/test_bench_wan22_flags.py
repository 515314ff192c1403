"""The benchmark itself runs, and its report says what was done."""

import json
import sys

from tests.bench import bench_wan22_flags


def test_every_case_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--tiny", "--steps", "8", "--out", str(tmp_path)])
    bench_wan22_flags.main()
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["name"], row["forwards"]) for row in report["cases"]] == [
        ("exact", 16), ("half", 16), ("half + improved", 16), ("half + CFG (5, 3)", 11),
    ]  # fmt: skip
    assert report == json.loads((tmp_path / "wan22_flags.json").read_text())
    assert "| half + improved |" in (tmp_path / "wan22_flags.md").read_text()
