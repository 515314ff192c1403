"""`wan22 compare` from end to end on tiny random checkpoints: files that open, numbers that agree, identical is identical."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image

from mgcli import wan22_app
from mgcli.app.errors import run
from mgcli.video.request import wan22_request
from tests.tiny_checkpoints import write_wan22
from wan.video.reader import read_frames
from wanmini import sizes

TINY = [
    "--size",
    "64*48",
    "--any_size",
    "--frame_num",
    "9",
    "--sample_steps",
    "6",
    "--device",
    "cpu",
    "--prompt",
    "a cat",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_wan22(tmp_path_factory.mktemp("wan22") / "t2v")


@pytest.fixture
def compare(folder, capsys, tmp_path):
    def call(*arguments: str, json_: bool = True):
        given = ["compare", "--ckpt_dir", str(folder), *TINY, "--output_dir", str(tmp_path / "out"), *arguments]
        code = run(wan22_app.app, [*given, *["--json"] * json_])
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if json_ else shown.out

    return call


def test_all_completions_beside_the_baseline(compare, tmp_path):
    code, data = compare("--comparison_mode", "completion")
    assert code == 0, data
    assert [r["name"] for r in data["results"]] == ["baseline", "repeat", "improved", "renoise"]
    assert all(len(r["per_frame"]) == 9 and r["psnr"] > 0 and r["ssim"] < 1 for r in data["results"][1:])
    assert len({r["base_seed"] for r in data["requests"].values()}) == 1
    out = tmp_path / "out"
    assert json.loads((out / "report.json").read_text()) == data
    for name, request in data["requests"].items():  # each of them is a preset that makes its video
        (out / "preset.json").write_text(json.dumps(request))
        again = wan22_request({"config_path": str(out / "preset.json")}, "t2v-A14B")
        assert json.loads(json.dumps(asdict(again) | {"config_path": None}, default=str)) == request
        assert again.save_file == out / f"{name}.mp4" and again.residency == "one" and again.dtype == "float32"
    assert data["attention"] == {"backends": ["sdpa"], "shapes": {}} and data["dtype"] == "float32"
    assert "| renoise |" in (out / "report.md").read_text()
    assert Image.open(out / "per_frame.png").size == (1080, 600)
    beside = list(read_frames(out / "side_by_side.mp4"))
    assert len(beside) == 9 and beside[0].shape == (48 + 20, 4 * 64 + 3 * 4, 3)
    assert len(list(read_frames(out / "renoise.mp4"))) == 9


def test_what_changes_nothing_is_identical(compare, tmp_path):
    """A guidance of 1 is one branch anyway, so there is nothing to truncate."""
    flags = ["--comparison_mode", "cfg_vs_baseline", "--sample_guide_scale", "1", "--cfg_truncate_steps", "2"]
    code, data = compare(*flags)
    assert code == 0 and data["results"][1]["mse"] == 0 and data["results"][1]["psnr"] is None
    code, shown = compare(*flags, json_=False)
    assert code == 0 and "identical" in shown and "1.0000" in shown
    assert data["folder"] == str(tmp_path / "out") and f"written to {tmp_path / 'out-2'}" in shown


def test_the_embedded_mini_is_compared_where_there_is_no_checkpoint(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MG_MODELS", str(tmp_path / "none"))
    given = [
        "compare",
        "--json",
        "--prompt",
        "a red circle",
        "--frame_num",
        "9",
        "--sample_steps",
        "4",
        "--device",
        "cpu",
    ]
    flags = ["--comparison_mode", "half_vs_baseline", "--output_dir", str(tmp_path)]
    assert run(wan22_app.app, [*given, *flags]) == 0
    shown = capsys.readouterr()
    assert "the mini, a small model of moving shapes" in shown.err
    assert json.loads(shown.out)["requests"]["half"]["size"] == f"{sizes.WIDTH}*{sizes.HEIGHT}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--comparison_mode", "half"], "unknown comparison_mode 'half'; use one of half_vs_baseline"),
        (
            ["--comparison_mode", "all_vs_baseline", "--sample_steps", "4"],
            "cfg_truncate_steps 5 must be between 0 and the run's 4 steps",
        ),
        (["--task", "i2v-A14B"], "i2v-A14B needs an image; name one with --image"),
        (["--image", "x.png"], "--image is for i2v-A14B, not t2v-A14B"),
    ],
)
def test_a_mistake_is_one_line(compare, arguments, message):
    code, data = compare(*arguments)
    assert code == 2 and message in data["error"]
