"""A file of tensors is whole or not there, and as readable as any other."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from wan.files.saving import save_tensors


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        save_tensors(tmp_path / "a.safetensors", {"x": torch.arange(6).view(2, 3).T}, {"seed": "3"})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode
    assert torch.equal(load_file(tmp_path / "a.safetensors")["x"], torch.arange(6).view(2, 3).T)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


WRITE_MORE_THAN_FITS = """
import resource, sys
from pathlib import Path
import torch
from wan.files.saving import save_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save_tensors(Path(sys.argv[1]), {"x": torch.zeros(4000)})
except OSError as error:
    print(error)
"""


def test_a_disk_that_is_full_leaves_the_old_file_and_is_one_line(tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.zeros(4)})
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", WRITE_MORE_THAN_FITS, str(path)], capture_output=True, text=True)
    assert str(path) in done.stdout and done.stdout.count("\n") == 1 and not done.stderr
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
