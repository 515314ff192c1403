"""The commands of the pages are run as they are printed, a page's in their order, in a folder as a fresh checkout has it.

What needs a GPU, a download or a terminal is marked so on the page and was read by `test_commands.py`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks

ENVIRONMENT = Path(sys.prefix)
FIRST = [ROOT / "README.md", ROOT / "docs" / "start-here.md"]
WITH_SLOW = [page for page in PAGES if any(b.mark == "slow" for b in blocks(page)) and not page.name.endswith(".zh.md")]
pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="the pages are written for a POSIX shell")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Where `.venv` is the environment that runs the tests, and no model is fetched."""
    if not (ENVIRONMENT / "bin" / "activate").is_file():
        pytest.skip("the environment of these tests is none that can be switched on")
    (tmp_path / ".venv").symlink_to(ENVIRONMENT)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


def run(block: Block, folder: Path) -> None:
    path = f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # this checkout is what is tested, also where the environment has another one installed
    here = {"PATH": path, "PYTHONPATH": str(ROOT), "MG_MODELS": str(folder / "none"), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text], cwd=folder, env=os.environ | here, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    for named in re.findall(r"--(?:output|save_file|save_state) (\S+)", block.text):
        path = folder / named  # several worlds are numbered after it
        assert [p for p in path.parent.glob(f"{path.stem}*{path.suffix}") if p.stat().st_size], f"{block}: {named}"


@pytest.mark.parametrize("page", FIRST, ids=lambda page: page.name)
def test_the_first_pages_do_what_they_say(page: Path, checkout: Path):
    ran = [run(block, checkout) for block in blocks(page) if not block.mark]
    assert ran


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_SLOW, ids=lambda page: page.name)
def test_pages_do_what_they_say(page: Path, checkout: Path):
    for block in blocks(page):
        if block.mark != "not run":
            run(block, checkout)
