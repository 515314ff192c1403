"""What a recording leaves: nothing in halves, and nothing of another world."""

import os
from pathlib import Path

import numpy as np
import pytest

from mgcli.app.recording import Recording, link_or_copy
from mgcli.game.request import StreamRequest
from wan.game.actions import Action
from wan.game.modes import UNIVERSAL
from wan.video.reader import count_frames


def recorded(path: Path, seed: int) -> None:
    with Recording(path, UNIVERSAL, 25, growing=True) as recording:
        recording.tell(StreamRequest("universal"), seed=seed)
        recording.write(np.full((9, 32, 48, 3), seed, np.uint8), [Action("W")] * 9)


def test_a_finished_video_takes_no_room_twice(tmp_path):
    recorded(tmp_path / "a.mp4", seed=1)
    assert os.path.samefile(tmp_path / "a.mp4", tmp_path / "a_current.mp4")
    kept = tmp_path / "kept.mp4"
    kept.hardlink_to(tmp_path / "a.mp4")
    before = kept.read_bytes()
    recorded(tmp_path / "a.mp4", seed=200)  # and the next one is another file
    assert kept.read_bytes() == before != (tmp_path / "a.mp4").read_bytes()
    assert count_frames(tmp_path / "a.mp4") == count_frames(tmp_path / "a_current.mp4") == 9


def test_a_video_that_cannot_be_put_in_place_leaves_the_one_before(tmp_path):
    target = tmp_path / "a.mp4"
    target.write_bytes(b"of yesterday")
    with pytest.raises(OSError) as caught:
        link_or_copy(tmp_path / "gone.mp4", target)
    assert caught.value.filename == str(target) and target.read_bytes() == b"of yesterday"
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_where_there_are_no_links_it_is_copied(tmp_path):
    source = Path("/dev/shm") / f"{tmp_path.name}-{os.getpid()}"
    source.write_bytes(b"a video")
    try:
        link_or_copy(source, tmp_path / "a.mp4")
    finally:
        source.unlink()
    assert (tmp_path / "a.mp4").read_bytes() == b"a video" and os.listdir(tmp_path) == ["a.mp4"]
