"""What a newcomer waits for: `make demo` installs what the commands need, and leaves what tests and linters need to those."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def dry(*targets: str) -> str:
    """What make would do in a fresh checkout; these tests are run by make themselves."""
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}
    said = subprocess.run(["make", "-nB", *targets], cwd=ROOT, env=alone, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return said.stdout


@pytest.mark.parametrize("target", ["setup", "demo"])
def test_a_newcomer_does_not_wait_for_linters(target: str):
    assert re.findall(r"-e '(.*)'", dry(target)) == [".[play]"]


@pytest.mark.parametrize("target", ["setup-dev", "test", "check", "bench", "golden", "test-gpu"])
def test_who_needs_more_gets_it(target: str):
    assert re.findall(r"-e '(.*)'", dry(target)) == [".[play]", ".[dev,play]"]


def test_setup_says_how_far_it_is():
    assert re.findall(r'echo "(\[\d/\d\])', dry("setup")) == ["[1/3]", "[2/3]", "[3/3]"]


def test_the_demo_says_how_to_go_on():
    assert dry("demo").splitlines()[-2:] == ["echo '  . .venv/bin/activate'", "echo '  mg doctor'"]


def test_no_package_is_asked_for_twice():
    extras = PROJECT["optional-dependencies"]
    needed = [re.split(r"[><=;]", line)[0] for line in PROJECT["dependencies"]]
    optional = [[re.split(r"[><=;]", line)[0] for line in group] for group in extras.values()]
    assert len(needed) == len(set(needed))
    assert all(len(names) == len(set(names)) and not set(names) & set(needed) for names in optional)
    assert not {"diffusers", "transformers", "pytest", "ruff", "mypy"} & set(needed)
