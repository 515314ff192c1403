"""Where a run writes: nothing that is finished is lost, and what meets is refused in one line that names both flags."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mgcli.app.console import console
from mgcli.app.locks import locked
from mgcli.app.outputs import Outputs
from mgcli.app.recording import recorded


@dataclass(frozen=True)
class Request:
    script: str | None = None
    image: tuple[Path, ...] = ()
    load_state: Path | None = None


def place(path: Path, request: Request | None = None, overwrite: bool = False, **more) -> Path:
    with Outputs(request or Request(), overwrite) as outputs:
        return outputs.place("--output", path, recorded, **more)


@pytest.mark.parametrize("there", ["a.mp4", "a_icon.mp4", "a_current.mp4", "a.json", "a_latents.safetensors"])
def test_what_is_there_stays_there(tmp_path, capsys, there):
    console.configure(json=False, quiet=False)
    (tmp_path / there).write_text("finished")
    (tmp_path / "a-2.json").write_text("so is this")
    assert place(tmp_path / "a.mp4") == tmp_path / "a-3.mp4"
    assert f"this run writes {tmp_path / 'a-3.mp4'}" in capsys.readouterr().err
    assert place(tmp_path / "a.mp4", overwrite=True) == tmp_path / "a.mp4"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([there, "a-2.json"])


def test_a_link_that_leads_nowhere_is_there_too(tmp_path):
    (tmp_path / "a.mp4").symlink_to(tmp_path / "gone.mp4")
    assert place(tmp_path / "a.mp4") == tmp_path / "a-2.mp4"


def test_two_flags_may_not_mean_one_file(tmp_path):
    with Outputs(Request()) as outputs:
        outputs.place("--output", tmp_path / "a.mp4", recorded)
        with pytest.raises(ValueError) as caught:
            outputs.place("--save_state", tmp_path / "x" / ".." / "a.json")
    assert str(caught.value).startswith("the record of --output and --save_state are both")
    (tmp_path / "a.json").write_text("from before")  # which moves the record, and does not make it right
    with Outputs(Request()) as outputs:
        outputs.place("--output", tmp_path / "a.mp4", recorded)
        with pytest.raises(ValueError, match="the record of --output and --save_state are both"):
            outputs.place("--save_state", tmp_path / "a.json")


def test_a_name_that_a_number_has_taken_is_taken(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with Outputs(Request()) as outputs:
        assert outputs.place("--output", tmp_path / "a.mp4", recorded).name == "a-2.mp4"
        assert outputs.place("--save_state", tmp_path / "a-2.json").name == "a-2-2.json"


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_read_is_never_written(tmp_path, linked):
    record = read = tmp_path / "a.json"
    record.write_text("{}")
    if linked:
        read = tmp_path / "other.json"
        read.symlink_to(record)
    assert place(tmp_path / "a.mp4", Request(script=str(read))).name == "a-2.mp4"
    with pytest.raises(ValueError, match="--script and the record of --output are both"):
        place(tmp_path / "a.mp4", Request(script=str(read)), overwrite=True)
    with pytest.raises(ValueError, match="--image and the record of --output are both"):
        place(tmp_path / "a.mp4", Request(image=(tmp_path / "b.png", read)), overwrite=True)
    assert record.read_text() == "{}"


def test_two_links_are_two_files(tmp_path):
    """A recording makes such: the video and what it was called while it grew."""
    (tmp_path / "a.mp4").write_text("finished")
    (tmp_path / "a_current.mp4").hardlink_to(tmp_path / "a.mp4")
    assert place(tmp_path / "a.mp4") == tmp_path / "a-2.mp4"
    assert place(tmp_path / "a.mp4", overwrite=True) == tmp_path / "a.mp4"


def test_an_input_that_is_no_file_is_none(tmp_path):
    assert place(tmp_path / "a.mp4", Request(script="W*12 " * 2000, load_state=tmp_path)) == tmp_path / "a.mp4"


def test_names_that_cannot_be(tmp_path):
    for name, words in (("a" * 240 + ".mp4", "a name of 249 bytes is too long: at most 244"), ("\u6c34" * 79 + ".mp4", "too long")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            place(tmp_path / name)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match="folder.mp4 is a folder: name a file in it, such as .*folder.mp4/demo.mp4"):
        place(tmp_path / "folder.mp4")
    (tmp_path / "b.json").mkdir()
    with pytest.raises(ValueError, match="the record of --output: .*b.json is a folder"):
        place(tmp_path / "b.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match="--output: .*pipe.mp4 is no file"):
        place(tmp_path / "pipe.mp4", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        place(tmp_path / "file" / "a.mp4")


def test_a_folder_is_numbered_whole(tmp_path):
    def files(folder: Path) -> dict[str, Path]:
        return {"report": folder / "report.md"}

    (tmp_path / "v1.2").mkdir()
    with Outputs(Request()) as outputs:
        assert outputs.place("--output_dir", tmp_path / "v1.2", files, folder=True) == tmp_path / "v1.2"
    (tmp_path / "v1.2" / "report.md").write_text("")
    with Outputs(Request()) as outputs:
        assert outputs.place("--output_dir", tmp_path / "v1.2", files, folder=True) == tmp_path / "v1.2-2"


# --- another run ------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from mgcli.app.console import console
from mgcli.app.outputs import Outputs
from mgcli.app.recording import recorded
with Outputs(None) as outputs:
    outputs.place("--output", Path(sys.argv[1]), recorded)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that writes to a.mp4."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "a.mp4")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_run_is_not_disturbed(tmp_path, other, overwrite):
    with pytest.raises(ValueError, match=rf"another run \(process {other.pid}\) is writing .*a.mp4: wait for it, or"):
        place(tmp_path / "a.mp4", overwrite=overwrite)
    with pytest.raises(ValueError, match="is writing .*a_icon.mp4"):  # what goes with its video
        place(tmp_path / "a_icon.mp4", overwrite=overwrite)
    assert place(tmp_path / "a.mp4", chosen=False) == tmp_path / "a-2.mp4"  # a default is nobody's word
    (tmp_path / "a.mp4").write_text("its first block")
    with pytest.raises(ValueError, match="is writing .*a.mp4"):
        place(tmp_path / "a.mp4", overwrite=overwrite)


def test_a_run_that_was_killed_holds_nothing(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / ".a.mp4.lock").exists()
    assert place(tmp_path / "a.mp4") == tmp_path / "a.mp4"
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_no_way_to_another_file(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".a.mp4.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError), locked(tmp_path / "a.mp4"):
        pass
    assert (tmp_path / "precious").read_text() == "kept"
