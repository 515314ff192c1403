"""`wan22 plan`: the numbers, the precedence of presets and flags, one line for each mistake, no torch."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mgcli import wan22_app
from mgcli.app.errors import run
from mgcli.video.request import accelerations
from wan22.config import Request

SMALL = ["--size", "832*480", "--frame_num", "49", "--sample_steps", "20"]


def wan22(capsys, *arguments: str) -> tuple[int, str, str]:
    code = run(wan22_app.app, [*arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def plan(capsys, *arguments: str) -> dict:
    code, out, err = wan22(capsys, "plan", "--json", *arguments)
    assert code == 0, err
    return json.loads(out)


def test_both_accelerations(capsys):
    flags = ["--enable_half_frame_generation", "--enable_improved_frame_completion", "--cfg_truncate_steps", "5"]
    data = plan(capsys, *SMALL, *flags, "--cfg_truncate_high_noise_steps", "3")
    columns = [(s["expert"], s["latent_frames"], s["seq_len"], s["forwards"]) for s in data["steps"]]
    high, low = ("high", 7, 10920), ("low", 13, 20280)
    assert columns == [(*high, 2)] * 10 + [(*high, 1)] * 3 + [(*low, 2)] * 2 + [(*low, 1)] * 5
    totals = {k: v for k, v in data["totals"].items() if k != "relative_cost"}
    assert totals == {"high": 13, "low": 7, "forwards": 32, "token_forwards": 433680}
    flags[1:2] = ["--frame_completion", "renoise", "--half_frame_rope", "stretch"]
    data = plan(capsys, *SMALL, *flags, "--cfg_truncate_high_noise_steps", "3")
    assert plan(capsys, *SMALL, "--accel", "recommended") == data
    assert plan(capsys, *SMALL, "--accel", "exact") == plan(capsys, *SMALL)


def test_the_exact_preset_undoes_whatever_is_lossy():
    lossy = Request(
        enable_half_frame_generation=True, enable_improved_frame_completion=True, frame_completion="improved",
        cfg_truncate_steps=5, cfg_truncate_high_noise_steps=3,
    )  # fmt: skip
    assert replace(lossy, **accelerations("exact")) == lossy.exact()


def test_a_flag_wins_over_accel_and_accel_over_a_preset(capsys, tmp_path: Path):
    preset = tmp_path / "mine.yaml"
    preset.write_text(
        "size: 832*480\nframe_num: 49\nsample_steps: 20\ncfg_truncate_steps: 2\nenable_half_frame_generation: true\n"
    )
    named = ["--config_path", str(preset)]
    assert plan(capsys, *named)["totals"]["forwards"] == 38
    assert plan(capsys, *named, "--accel", "exact")["totals"]["relative_cost"] == 1
    assert plan(capsys, *named, "--accel", "exact", "--cfg_truncate_steps", "7")["totals"]["forwards"] == 33


def test_the_table_is_for_people(capsys):
    code, out, err = wan22(capsys, "plan", *SMALL, "--accel", "recommended")
    assert code == 0
    assert "13 high-noise and 7 low-noise steps, 32 forwards" in out and "renoise" in out


def test_an_odd_length_is_said_once(capsys):
    _, out, err = wan22(capsys, "plan", "--frame_num", "48", "--size", "832*480")
    assert err.count("49 are made and cut to 48") == 1 and "48 frames of 832x480" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frame_num", "0"], "frame_num 0 must be from 1 to 4093; nearest is 1"),
        (["--size", "830*480"], "nearest is 832*480"),
        (["--size", "640*352"], "allow any (--any_size)"),
        (["--sample_steps", "0"], "sample_steps 0"),
        (["--sample_steps", "1", "--enable_half_frame_generation"], "use more steps (--sample_steps)"),
        (["--frame_completion", "renoise"], "ask for them too (--enable_half_frame_generation)"),
        (["--cfg_truncate_steps", "41"], "between 0 and the run's 40 steps"),
        (["--task", "ti2v-5B", "--enable_half_frame_generation"], "half frames need two experts"),
        (["--task", "t2v"], "unknown task 't2v'; use t2v-A14B or i2v-A14B"),
        (["--sample_guide_scale", "3;4"], "LOW,HIGH, such as 3,4"),
        (["--sample_solver", "euler"], "'unipc', 'dpm++'"),
        (["--frame_completion", "blend"], "'repeat', 'improved', 'renoise'"),
        (["--accel", "recomended"], "recommended.yaml"),
        (["--offload_model", "maybe"], "True or False"),
        (["--offload_model", "True", "--residency", "both"], "means --residency one, not both"),
        (["--convert_model_dtype", "--dtype", "float32"], "means --dtype bfloat16, not float32"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, message):
    code, out, err = wan22(capsys, "plan", *arguments)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


def test_a_guide_scale_is_one_number_or_low_and_high(capsys):
    guidance = {s["guidance"] for s in plan(capsys, "--sample_guide_scale", "5")["steps"]}
    assert guidance == {5}
    steps = plan(capsys, "--sample_guide_scale", "3,4.5")["steps"]
    assert (steps[0]["guidance"], steps[-1]["guidance"]) == (4.5, 3)


def test_a_plan_needs_no_torch():
    code = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); from mgcli.wan22_app import main; main()"
    root = Path(wan22_app.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, "plan"], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0 and done.stdout.endswith("False\n")


def test_where_the_experts_may_live_in_so_much_memory(capsys, monkeypatch):
    from mgcli.video import fitting

    monkeypatch.setattr(fitting, "host_available", lambda: 64 * 2**30)
    chosen = {}
    for gib in ("80", "40", "12"):
        flags = ["--size", "832*480", "--frame_num", "49", "--memory", gib, "--json"]
        assert run(wan22_app.app, ["plan", *flags]) == 0
        rows = {row["residency"]: row for row in json.loads(capsys.readouterr().out)["memory"]}
        assert all(rows[name]["fits"] == (rows[name]["device_gib"] <= 0.9 * float(gib)) for name in rows)
        chosen[gib] = [name for name, row in rows.items() if row["chosen"]]
    assert chosen == {"80": ["both"], "40": ["one"], "12": ["stream"]}
    # measured on an H200: 56.4 GiB with both, 2.7 on the host
    assert rows["both"]["device_gib"] == pytest.approx(56.4, rel=0.05)
    monkeypatch.setattr(fitting, "host_available", lambda: 16 * 2**30)
    assert run(wan22_app.app, ["plan", *flags]) == 0
    rows = json.loads(capsys.readouterr().out)["memory"]
    assert [row["residency"] for row in rows if row["chosen"]] == ["disk"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to ask")
def test_the_memory_of_no_gpu_is_a_sentence(capsys):
    assert run(wan22_app.app, ["plan", "--memory", "auto", "--json"]) == 2
    assert "--memory 24" in json.loads(capsys.readouterr().out)["error"]
    assert run(wan22_app.app, ["plan", "--memory", "much", "--json"]) == 2
    assert "such as 12, nor auto" in json.loads(capsys.readouterr().out)["error"]
