"""The video writer: everything written is playable at any moment, and the file at the end is an ordinary one."""

import errno
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from wan.video import encoder, ffmpeg
from wan.video.reader import count_frames, read_frames
from wan.video.writer import VideoWriter


def clip(frames: int, height: int = 32, width: int = 48, start: int = 0) -> np.ndarray:
    """A bright bar that moves one pixel a frame, so that frames can be told apart."""
    video = np.full((frames, height, width, 3), 40, np.uint8)
    for i in range(frames):
        video[i, :, (start + i) % width : (start + i) % width + 6] = (220, 120, 60)
    return video


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def test_every_frame_comes_back_in_order_and_in_its_colours(tmp_path):
    path, video = tmp_path / "a.mp4", clip(9 + 12 + 12)
    with VideoWriter(path, fps=25) as writer:
        for part in np.split(video, [9, 21]):
            writer.write(part)
    read = np.stack(list(read_frames(path)))
    assert read.shape == video.shape
    assert all(psnr(a, b) > 25 for a, b in zip(read, video))  # chroma is halved, which a coloured bar shows
    flat = read[:, :, 40:]
    assert np.abs(flat[0].mean((0, 1)) - 40).max() < 2  # no shift of levels or colour


def test_playable_after_every_write_and_counted_exactly(tmp_path):
    path, total = tmp_path / "a.mp4", 0
    writer = VideoWriter(path, fps=12.5)
    assert not path.exists()
    for frames in (9, 12, 12, 1):
        writer.write(clip(frames))
        total += frames
        assert count_frames(path) == total == writer.frames
    writer.close()
    writer.close()
    assert count_frames(path) == 34
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_the_finished_file_has_an_index_and_the_frame_rate(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=12) as writer:
        writer.write(clip(24))
    content = (tmp_path / "a.mp4").read_bytes()
    assert b"moof" not in content and content.index(b"moov") < content.index(b"mdat")
    from imageio_ffmpeg import count_frames_and_secs

    assert count_frames_and_secs(str(tmp_path / "a.mp4")) == (24, 2.0)


@pytest.mark.parametrize("fps", [0, 0.0001, 0.9, 241, 1e9, float("nan"), float("inf"), -25])
def test_a_rate_that_no_video_has(tmp_path, fps):
    with pytest.raises(ValueError, match="frames a second: a video has from 1 to 240"):
        VideoWriter(tmp_path / "a.mp4", fps)


@pytest.mark.parametrize("fps", [1, 1.001, 23.976, 30000 / 1001, 239.999, 240])
def test_a_rate_that_a_video_has(tmp_path, fps):
    with VideoWriter(tmp_path / "a.mp4", fps) as writer:
        writer.write(clip(24))
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert frames == 24 and seconds == pytest.approx(24 / fps, abs=0.02)


WRITE_AND_HANG = """
import sys, time
sys.path.insert(0, {root!r})
from tests.wan.video.test_video import clip
from wan.video.writer import VideoWriter
writer = VideoWriter({path!r})
for frames in (9, 12, 12):
    writer.write(clip(frames))
    print(writer.frames, flush=True)
while True:
    writer._encoder._process.stdin.write(b"half a frame, never finished")
    time.sleep(0.01)
"""


def test_kill_9_leaves_what_was_written_playable(tmp_path):
    path = tmp_path / "a.mp4"
    script = WRITE_AND_HANG.format(root=str(Path(__file__).parents[3]), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    while child.stdout.readline().strip() != "33":
        assert child.poll() is None
    time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert count_frames(path) == 33
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_an_error_before_the_first_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), VideoWriter(path):
        raise RuntimeError("no model")
    with pytest.raises(ValueError, match="33x48 cannot be H.264"), VideoWriter(path) as writer:
        writer.write(clip(9, height=33))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_an_error_later_leaves_what_was_finished(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(RuntimeError), VideoWriter(path) as writer:
        writer.write(clip(9))
        raise RuntimeError("out of memory")
    assert count_frames(path) == 9


class FullDisk:
    """A file on a disk that has room for some bytes more; the rest of a file passes through."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(bytes(data[: self.room]))
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_does_not_cut_a_fragment(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(OSError) as caught, VideoWriter(path) as writer:
        writer.write(clip(9))
        writer._file = FullDisk(writer._file, room=100)
        writer.write(clip(12))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert count_frames(path) == 9


def test_a_full_disk_at_the_first_write_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, VideoWriter(tmp_path / "missing" / "a.mp4") as writer:
        writer.write(clip(9))
    assert str(tmp_path / "missing") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_only_swallows_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "_encode_command", lambda *_: ["sh", "-c", "cat > /dev/null"])
    monkeypatch.setattr(encoder, "SECONDS_TO_ENCODE", 0.2)
    with pytest.raises(RuntimeError, match="gave nothing for 0.2 s"), VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(clip(9))


def test_a_dead_encoder_is_an_error_and_keeps_what_was_finished(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(RuntimeError, match="ffmpeg ended early with code -9"), VideoWriter(path) as writer:
        writer.write(clip(9))
        writer._encoder._process.kill()
        writer.write(clip(12))
    assert count_frames(path) == 9


# --- which ffmpeg -----------------------------------------------------------------------------------------------------


def program(folder: Path, script: str) -> str:
    """An ffmpeg of our own making."""
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "help, option",
    [
        ("-vsync              video sync method", "-vsync passthrough"),  # 4.2 to 5.0
        ("-vsync  video sync method\n-fps_mode  set framerate mode", "-fps_mode passthrough"),
        ("-fps_mode[:<stream_spec>]  set framerate mode", "-fps_mode passthrough"),  # after 8
    ],
)
def test_the_option_that_keeps_every_frame_is_the_programs_own(tmp_path, help, option):
    assert ffmpeg.every_frame(program(tmp_path, f"cat <<'.'\nAdvanced options:\n{help}\n.")) == option


def test_the_last_words_of_ffmpeg_are_in_the_error_and_nowhere_else(tmp_path, monkeypatch, capfd):
    noisy = '[ "$2" = -h ] && exit; yes waiting | head -n 100000 >&2; echo "Unknown encoder \'libx264\'" >&2; exit 8'
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", program(tmp_path, noisy))
    with pytest.raises(RuntimeError) as caught, VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(clip(9))
    said = "waiting waiting Unknown encoder 'libx264'"
    assert str(caught.value) == f"ffmpeg ended early with code 8 ({said}): {tmp_path / 'ffmpeg'}"
    assert capfd.readouterr() == ("", "")


def test_an_encoder_that_works_is_found_to(capfd):
    encoder.require_encoder()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "script, words",
    [
        (None, "ffmpeg: No such file or directory"),
        ("echo no >&2; exit 3", r"ffmpeg ended early with code 3 \(no\): "),
        ("head -c 100000 /dev/zero; exit 0", "ffmpeg ended early with code 0"),
        ("exec cat", "took frames and gave nothing for 0.5 s"),
    ],
)
def test_an_encoder_that_does_not_work_is_a_mistake_to_be_mended(tmp_path, monkeypatch, script, words):
    monkeypatch.setattr(encoder, "SECONDS_TO_ENCODE", 0.5)
    path = program(tmp_path, f'[ "$2" = -h ] && exit; {script}') if script else str(tmp_path / "ffmpeg")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", path)
    with pytest.raises(
        ValueError, match=rf"^no video can be written \(.*{words}.*IMAGEIO_FFMPEG_EXE names the program"
    ):
        encoder.require_encoder()


def test_a_file_that_is_no_program(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").write_bytes(b"\x00 nothing to run")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "ffmpeg"))
    with pytest.raises(ValueError, match="ffmpeg: Permission denied"):
        encoder.require_encoder()
    (tmp_path / "ffmpeg").chmod(0o755)
    with pytest.raises(ValueError, match="ffmpeg: Exec format error"):
        encoder.require_encoder()


@pytest.mark.parametrize(
    "said, version, too_old",
    [
        ("ffmpeg version 4.2.2-static https://", "4.2.2-static", False),
        ("ffmpeg version n9.0.2-17-g2a571b6068-20260930 Copyright", "n9.0.2-17-g2a571b6068-20260930", False),
        ("ffmpeg version 4.1.9-0+deb10u1 Copyright", "4.1.9-0+deb10u1", True),
        ("ffmpeg version n3.4 Copyright", "n3.4", True),
        ("ffmpeg version N-109468-gd39b34123d Copyright", "N-109468-gd39b34123d", False),
        ("something else", "unknown", False),
    ],
)
def test_the_version_of_a_program(tmp_path, said, version, too_old):
    assert ffmpeg.version(program(tmp_path, f"echo '{said}'")) == version
    assert ffmpeg.is_too_old(version) == too_old


@pytest.mark.slow  # fetches the oldest imageio-ffmpeg that pyproject.toml allows
def test_the_oldest_ffmpeg_allowed(tmp_path, monkeypatch):
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path), "imageio-ffmpeg==0.5.1"]
    if subprocess.run(fetch, capture_output=True).returncode:
        pytest.skip("needs a network")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        [name] = [name for name in wheel.namelist() if "/binaries/ffmpeg" in name]
        old = Path(wheel.extract(name, tmp_path))
    old.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(old))
    test_every_frame_comes_back_in_order_and_in_its_colours(tmp_path)
    assert imageio_ffmpeg.get_ffmpeg_version().startswith("4.2")
