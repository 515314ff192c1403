"""Equal to the official implementations: every file in GOLDEN_DIR is run by its `kind`, at the sizes of its `config`."""

import importlib
import os
from pathlib import Path

import pytest

from tests.golden.golden_file import GoldenFile

GOLDEN_DIR = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "data"))
FILES = sorted(GOLDEN_DIR.glob("*.safetensors"))


def test_there_are_golden_files():
    assert FILES, f"no *.safetensors in {GOLDEN_DIR}; set GOLDEN_DIR to a folder of golden files"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_golden(path: Path):
    golden = GoldenFile(path)
    # tests/golden/kinds/<kind>.py has one function, check(golden), with its tolerances and their reasons
    importlib.import_module(f"tests.golden.kinds.{golden.kind}").check(golden)
