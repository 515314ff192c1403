"""default < preset < flag, and no key or value is ever ignored."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from mgcli.app import presets
from mgcli.app.presets import find_config, load_preset, resolve, write_request


@dataclass(frozen=True)
class Request:
    frame_num: int = 49
    shift: float = 5.0
    solver: Literal["unipc", "dpm++"] = "unipc"
    steps: tuple[int, ...] = (1000, 666, 333)
    size: tuple[int, int] = (352, 640)
    output: Path = Path("out.mp4")
    half: bool = False
    guidance: float | tuple[float, float] | None = None
    seed: int | None = None


def test_precedence():
    made = resolve(Request, {"frame_num": 81, "shift": 12}, {"frame_num": 121, "half": None, "shift": None})
    assert made == Request(frame_num=121, shift=12.0)
    assert isinstance(made.shift, float)
    assert resolve(Request, {"half": True}, {"half": False}) == Request()
    assert resolve(Request, None, {}) == Request()


@pytest.mark.parametrize(
    "key, value, want",
    [
        ("steps", [1000, 500], (1000, 500)),
        ("size", [480, 832], (480, 832)),
        ("output", "a/b.mp4", Path("a/b.mp4")),
        ("guidance", 3, 3.0),
        ("guidance", [3.0, 4], (3.0, 4.0)),
        ("guidance", None, None),
        ("solver", "dpm++", "dpm++"),
    ],
)
def test_converted_without_loss(key: str, value: Any, want: Any):
    assert getattr(resolve(Request, {key: value}, {}), key) == want


@pytest.mark.parametrize(
    "preset, message",
    [
        ({"frame_nun": 49}, "unknown key 'frame_nun'; did you mean 'frame_num'?"),
        ({"zzz": 1}, "known: frame_num, guidance"),
        ({"frame_num": "49"}, "frame_num: expected int, got '49'"),
        ({"frame_num": True}, "frame_num: expected int, got True"),
        ({"frame_num": 49.5}, "frame_num: expected int, got 49.5"),
        ({"shift": True}, "shift: expected float, got True"),
        ({"shift": None}, "shift: expected float, got None"),
        ({"half": 1}, "half: expected bool, got 1"),
        ({"solver": "euler"}, "solver: expected one of 'unipc', 'dpm++', got 'euler'"),
        ({"steps": 1000}, "steps: expected [int, ...], got 1000"),
        ({"steps": [1000, "x"]}, "steps[1]: expected int, got 'x'"),
        ({"size": [480]}, "size: expected 2 values, got 1"),
        ({"guidance": "low"}, "guidance: expected float or [float, float] or nothing, got 'low'"),
    ],
)
def test_mistakes_name_the_key_and_the_rule(preset: dict[str, Any], message: str):
    with pytest.raises(ValueError) as error:
        resolve(Request, preset, {})
    assert message in str(error.value)


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configs/ folder with one preset, and a working directory elsewhere."""
    root = tmp_path / "installed"
    (root / "wan22").mkdir(parents=True)
    (root / "wan22" / "t2v.yaml").write_text("frame_num: 81\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(presets, "CONFIG_ROOTS", (tmp_path / "absent", root))
    return root


@pytest.mark.parametrize("name", ["configs/wan22/t2v.yaml", "wan22/t2v.yaml", "wan22"])
def test_configs_are_found_from_anywhere(name: str, roots: Path):
    assert find_config(name) == roots / name.removeprefix("configs/")


def test_only_what_a_user_has_given_may_lie_in_the_working_directory(roots: Path):
    own = Path("configs/wan22/t2v.yaml")
    own.parent.mkdir(parents=True)
    own.write_text("frame_num: 49")
    assert load_preset(own, given=True) == {"frame_num": 49} and load_preset(own) == {"frame_num": 81}
    assert find_config(own, given=True) == own.absolute() and find_config(own) == roots / "wan22" / "t2v.yaml"
    assert load_preset("wan22/t2v.yaml", given=True) == {"frame_num": 81}  # here it is not


def test_bad_presets(roots: Path):
    with pytest.raises(ValueError, match="did you mean 'configs/wan22/t2v.yaml'"):
        find_config("wan22/t2w.yaml")
    for text, message in [("a: [1", "is not valid YAML"), ("- 1", "holds list, a preset is"), ("", "holds NoneType")]:
        Path("mine.yaml").write_text(text)
        with pytest.raises(ValueError, match=message):
            load_preset("mine.yaml", given=True)


def test_the_checkout_has_configs():
    assert find_config("configs/README.md").is_file()


def test_write_request(tmp_path: Path):
    write_request(tmp_path / "out.json", Request(seed=7), {"seconds": 1.5})
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["request"]["seed"] == 7 and written["request"]["output"] == "out.mp4" and written["seconds"] == 1.5
    assert resolve(Request, load_preset(tmp_path / "out.json"), {}) == Request(seed=7)


def test_a_broken_record_is_no_preset(tmp_path: Path):
    for text, message in [
        ('{"request": 3}', "holds int, a preset is"),
        ("[1]", "holds list"),
        ("{", "is not valid JSON"),
    ]:
        (tmp_path / "out.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            load_preset(tmp_path / "out.json")
