"""A wheel in an empty environment: commands start and data files are found from any directory, without this checkout."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow  # builds a wheel, which fetches the build backend


def output(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    output(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, cwd=folder)
    return next(folder.glob("mgcli-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, and everything it depends on from the running one."""
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    output(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel, cwd=home)
    # a path line brings the packages of the running environment, but not its editable install of this checkout
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return home / "bin"


def test_the_wheel_carries_every_data_file(wheel: Path):
    inside = set(zipfile.ZipFile(wheel).namelist())
    tracked = output("git", "ls-files", "configs", "mgcli", "wan", "wan22", "wanmini", cwd=ROOT).split()
    wanted = {f"mgcli/_{name}" if name.startswith("configs/") else name for name in tracked}
    assert wanted <= inside, f"left out: {sorted(wanted - inside)[:5]}"
    assert not any(name.startswith("tests/") for name in inside)


def test_commands_start_anywhere(installed: Path, tmp_path: Path):
    assert "doctor" in output(installed / "mg", "--help", cwd=tmp_path)
    assert "Usage: wan22" in output(installed / "wan22", "--help", cwd=tmp_path)
    report = json.loads(output(installed / "mg", "doctor", "--json", cwd=tmp_path))
    assert report["versions"]["mgcli"] and report["attention"]["sdpa"] == "ok"


def test_configs_are_found_anywhere(installed: Path, tmp_path: Path):
    code = "from mgcli.app.presets import find_config; print(find_config('configs/README.md'))"
    found = Path(output(installed / "python", "-c", code, cwd=tmp_path).strip())
    assert installed.parent in found.parents and found.is_file()


def test_the_notebook_runs_anywhere(installed: Path, tmp_path: Path):
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    output(installed / "python", "-c", code, cwd=tmp_path)
    assert (tmp_path / "stars.mp4").is_file()
