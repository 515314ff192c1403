"""Results and notes go where somebody may not read them: a disk that is full, a reader that has left, letters that are not there."""

import io
import json
import os
import subprocess
import sys

import pytest

from mgcli import mg
from mgcli.app.console import Console, plain
from mgcli.app.errors import run

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def process(*given, stdout=subprocess.PIPE, **environment):
    command = [sys.executable, "-c", "from mgcli.wan22_app import main; main()", *given]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=ENVIRONMENT | environment, timeout=60)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has none")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["plan", "--json"], "error: disk full: free some space or choose another place"),
        (["plan", "--json", "--frame_num", "0"], "error: frame_num 0 must be from 1 to 4093; nearest is 1"),
    ],
)
def test_a_full_stdout_is_one_line(given, said):
    with open("/dev/full", "w") as full:
        done = process(*given, stdout=full)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, [line for line in lines if line.startswith("error")]) == (2, [said])
    assert "Exception" not in done.stderr.decode()


@pytest.mark.parametrize("encoding", ["ascii", "latin1", "cp1252"])
def test_letters_that_stdout_has_not(encoding):
    done = process("plan", "--json", "--task", "é中🙂", PYTHONIOENCODING=encoding)
    assert done.returncode == 2 and "é中🙂" in json.loads(done.stdout.decode("ascii"))["error"]
    assert done.stderr.startswith(b"error: unknown task '")


def test_a_closed_stdout_is_no_error_of_ours():
    command = 'exec "$0" -c "from mgcli.wan22_app import main; main()" plan >&-'
    done = subprocess.run(["sh", "-c", command, sys.executable], stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 0 and b"error" not in done.stderr


def test_a_run_goes_on_when_nobody_reads_its_notes(tmp_path, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        given = ["--output", str(tmp_path / "a.mp4"), "--num_output_frames", "3", "--height", "32", "--width", "48"]
        assert run(mg.app, ["generate", *given]) == 0
    assert (tmp_path / "a.mp4").is_file() and "a.mp4" in capsys.readouterr().out


def test_no_note_obeys_what_a_foreign_name_says(monkeypatch):
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    console = Console()
    console.configure(json=False, quiet=False)
    for say in (console.say, console.warn, console.error):
        say("no such file: \x1b[2Jevil\x07\r\x9b31m\x7f\nnext")
    assert not set(heard.getvalue()) & set("\x1b\x07\r\x9b\x7f")
    assert heard.getvalue().count("no such file: \\x1b[2Jevil\\x07\\x0d\\x9b31m\\x7f\nnext") == 3
    assert plain("é中🙂\t") == "é中🙂\t"


def test_json_has_no_letter_that_a_terminal_obeys(capsys):
    console = Console()
    console.configure(json=True, quiet=True)
    console.result({"video": "a\x9b31m\x7f\x1b.mp4"}, "")
    out = capsys.readouterr().out
    assert not set(out) & set("\x9b\x7f\x1b") and json.loads(out) == {"video": "a\x9b31m\x7f\x1b.mp4"}


def test_little_is_imported_before_ctrl_c_is_one_line():
    """Python's own start is not ours to guard; ours begins with next to nothing."""
    asked = (
        "import sys; before = set(sys.modules); import mgcli.app.interrupt; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", asked], capture_output=True, text=True, timeout=60)
    found = {name for name in done.stdout.split() if not name.startswith("_")}
    python = "abc collections collections.abc contextlib functools genericpath itertools keyword operator os os.path posixpath"
    assert found - {*python.split(), "reprlib", "stat", "types"} == {"mgcli", "mgcli.app", "mgcli.app.interrupt"}


def test_ctrl_c_while_it_imports_is_one_line():
    command = "import os, signal, sys, threading\nfrom mgcli.app.interrupt import interruptible\nwith interruptible():\n    os.kill(os.getpid(), signal.SIGINT)\n    import numpy"
    command = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + command
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")
