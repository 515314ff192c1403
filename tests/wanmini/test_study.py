"""The study's arithmetic, on rows made up by hand; and its workers share the prompts out."""

from __future__ import annotations

import math
from typing import Any

from wanmini.study import EXACT, WAYS, baseline_of, shares
from wanmini.study_report import summary, table


def _row(way: str, prompt: int, **values: Any) -> dict[str, Any]:
    exact = way == baseline_of(way)
    read = {"shape": 1.0, "colour": 1.0, "count": 1.0, "motion": 1.0, "speed": 1.0, "pace": 1.0}
    cost = {"seconds": 2.0 if exact else 1.0, "forwards": 40, "token_forwards": 100 if exact else 50}
    quality = {"mse": 0.0 if exact else 0.01, "psnr": None, "ssim": 1.0}
    return {"way": way, "prompt": prompt} | read | cost | quality | values


def test_a_summary_compares_every_way_with_the_exact_clip_of_its_solver() -> None:
    rows = [_row(way, prompt) for way in WAYS for prompt in range(2)]
    rows += [_row(EXACT, 2, speed=None, pace=None, shape=0.0), *(_row(way, 2) for way in WAYS if way != EXACT)]
    found = summary(rows, [row | {"seconds": 3.0} for row in rows if row["prompt"] == 1])
    assert found.keys() == WAYS.keys()
    assert found[EXACT]["clips"] == 3 and found[EXACT]["shape"] == 2 / 3
    assert found[EXACT]["speed"] == 1  # only clips that have a speed
    half = found["half, improved, dpm++"]
    assert half["seconds"] == 3 and half["relative_cost"] == 0.5 and math.isclose(half["psnr"], 20)
    lines = table(found).splitlines()
    assert len(lines) == 2 + len(WAYS) and all(line.count("|") == lines[0].count("|") for line in lines)


def test_every_prompt_has_one_worker() -> None:
    for count, workers in ((200, 16), (3, 8), (1, 1)):
        assert [i for part in shares(count, workers) for i in part] == list(range(count))
