"""The commands as far as Windows can be played on Linux (as_on_windows.py says how far); no Windows was at hand."""

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.tiny_checkpoints import write_wan22
from wan.video.reader import count_frames

ROOT = Path(__file__).parents[3]
SMALL = ["--height", "32", "--width", "48"]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("mgcli", "wan", "wan22", "wanmini")
    for path in sorted((ROOT / package).rglob("*.py"))
]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux plays Windows, nobody else")


def on_windows(*commands: list) -> list[dict]:
    """What each command says, with a pipe of Western Europe's letters, as it is there."""
    play = [sys.executable, "-X", "warn_default_encoding", "-m", "tests.mgcli.app.as_on_windows"]
    env = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "OMP_NUM_THREADS": "1"}
    given = json.dumps(commands, default=str)
    done = subprocess.run(play, cwd=ROOT, env=env, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_file_can_be_imported():
    not_there = {"mgcli.app.posix", *([] if find_spec("gymnasium") else ["mgcli.gym"])}
    not_there |= {name for name in MODULES if name.startswith("wan.fast.kernels.triton_")}
    assert on_windows(["import", *(name for name in MODULES if name not in not_there)]) == []


def test_worlds_sessions_and_videos(tmp_path):
    video, state, folder = tmp_path / "a\u6c34.mp4", tmp_path / "world.st", write_wan22(tmp_path / "release")
    generate = ["mgcli.mg", "generate", *SMALL, "--actions", "W*9 L*12", "--save_latents", "--json", "--output", video]
    stream = ["mgcli.mg", "stream", *SMALL, "--script", "W*9 L*24", "--json"]
    small = "--size 48*32 --any_size --frame_num 5 --sample_steps 2 --device cpu --json".split()
    first, again, begun, gone_on, made = on_windows(
        generate,
        [*generate, "--overwrite"],
        [*stream, "--output", tmp_path / "b.mp4", "--max_num_output_frames", "6", "--save_state", state],
        [*stream, "--output", tmp_path / "c.mp4", "--load_state", state],
        [
            "mgcli.wan22_app",
            "t2v",
            "--ckpt_dir",
            folder,
            "--prompt",
            "a cat",
            "--save_file",
            tmp_path / "d.mp4",
            *small,
        ],
    )
    assert (
        first["outputs"][0]["video"] == again["outputs"][0]["video"] == str(video)
    )  # in letters that the pipe has not
    assert first["peak_memory_gib"] == 3 and (begun["frames"], gone_on["frames"]) == (21, 12)
    assert [count_frames(path) for path in (video, *(tmp_path / f"{name}.mp4" for name in "bcd"))] == [21, 21, 12, 5]
    assert json.loads((tmp_path / "b.json").read_text())["actions"] == "W*9 L*12"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_keys_of_its_console_locks_of_its_files_and_its_memory(tmp_path):
    (tmp_path / "empty").mkdir()
    done, doctor = on_windows(
        ["locks and keys", tmp_path / "empty"], ["mgcli.mg", "doctor", "--json", "--dir", tmp_path]
    )
    assert done == {"keys": ["right", "w", "\u00e0", "n"], "held": "by this process", "left": []}
    assert doctor["host"]["memory_gib"] == 7 and doctor["ffmpeg"]["problem"] is None


def names(file: str) -> dict[str, str]:
    """What a file offers: its functions with what they take and give, its constants."""
    found = {}
    for node in ast.parse((ROOT / "mgcli" / "app" / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            arguments = [ast.unparse(a.annotation) for a in node.args.args]
            found[node.name] = f"{arguments} -> {ast.unparse(node.returns)}"
    return found


def test_both_systems_answer_to_the_same_calls():
    posix, windows = names("posix.py"), names("windows.py")
    assert {name: posix[name] for name in windows} == windows
    assert posix.keys() - windows.keys() == {"split_keys"}  # its own, of what a terminal sends
