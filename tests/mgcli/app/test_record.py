"""The record of a session: whole JSON and a script at every moment, and a block costs no more after a day than at first."""

import errno
import json
import random
import signal
import subprocess
import sys
import time
from itertools import islice

import pytest

from mgcli.app.record import Record
from wan.game.actions import script_of, text, walk
from wan.game.modes import UNIVERSAL
from wan.game.scripts import parse_json

HEAD = {"request": {"actions": ["J*9"], "output": "a\u6c34.mp4"}, "seed": 3, "mode": "universal"}


def blocks(count: int, frames: int = 12) -> list[list[str]]:
    walked = walk(UNIVERSAL, 0)
    made = [script_of(UNIVERSAL, islice(walked, frames)).segments for _ in range(count)]
    return [[f"{text(UNIVERSAL, act)}*{held}" for act, held in segments] for segments in made]


def facts(i: int) -> dict:
    return {"frames": 12 * i, "timings": {"seconds": 0.5 / (i + 1)}}  # its length goes up and down


def test_it_is_whole_after_every_block_and_plays_what_was_done(tmp_path):
    record, done = Record(tmp_path / "a.json", HEAD), []
    for i, block in enumerate(blocks(900)):
        record.append(block, facts(i))
        done += block
        if i % 7 == 0 or i > 880:
            content = (tmp_path / "a.json").read_text()
            assert json.loads(content) == HEAD | {"actions": done} | facts(i)
    played, want = parse_json(content, UNIVERSAL), parse_json(json.dumps(done), UNIVERSAL)
    assert played.segments == want.segments
    record.close("W*12", {"frames": 12, "timings": {"per_block": [0.1]}})
    last = json.loads((tmp_path / "a.json").read_text())
    assert last == HEAD | {"actions": "W*12", "frames": 12, "timings": {"per_block": [0.1]}}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_block_writes_its_own_bytes_only(tmp_path, monkeypatch):
    written, write = [], Record._write
    monkeypatch.setattr(Record, "_write", lambda self, data: written.append(len(data)) or write(self, data))
    record = Record(tmp_path / "a.json", HEAD)
    for i, block in enumerate(blocks(3000)):
        record.append(block, facts(i))
    assert len(written) == 2999 and max(written) < 200


def test_a_block_cut_anywhere_is_no_block(tmp_path):
    """What a process leaves that is killed in the middle of a write."""
    record = Record(tmp_path / "a.json", HEAD)
    for i, block in enumerate((["W*9"], ["WL*12"], ["S*6", "A*6"])):
        before = (tmp_path / "a.json").read_text() if i else ""
        record.append(block, facts(i))
    after = (tmp_path / "a.json").read_text()
    begins = next(at for at, (a, b) in enumerate(zip(before, after)) if a != b)
    for end in range(begins, len(after)):
        played = str(parse_json(after[:end], UNIVERSAL))
        new = [f" {action}" for action in ("S*6", "A*6") if f'"{action}"' in after[:end]]
        assert played == "".join(["W*9 WL*12", *new]), after[begins:end]


APPEND = """
import sys
from pathlib import Path
from mgcli.app.record import Record
record = Record(Path(sys.argv[1]), {"mode": "universal"})
for i in range(10**9):
    record.append([f"W*{i + 1}"], {"frames": i})
    if i == 100: print("begun", flush=True)
"""


def test_kill_9_at_any_moment_leaves_whole_json(tmp_path):
    random.seed(0)
    for trial in range(8):
        path = tmp_path / f"{trial}.json"
        child = subprocess.Popen([sys.executable, "-c", APPEND, str(path)], stdout=subprocess.PIPE)
        child.stdout.readline()
        time.sleep(random.random() / 20)
        child.send_signal(signal.SIGKILL)
        child.wait()
        record = json.loads(path.read_text())
        assert record["actions"] == [f"W*{i + 1}" for i in range(record["frames"] + 1)]


def test_a_full_disk_leaves_what_was_written(tmp_path, monkeypatch):
    record = Record(tmp_path / "a.json", HEAD)
    for i, block in enumerate(blocks(3)):
        record.append(block, facts(i))
    before, write = json.loads((tmp_path / "a.json").read_text()), Record._write
    full = iter([True])
    monkeypatch.setattr(Record, "_write", lambda self, data: write(self, data[: 10 if next(full, False) else None]))
    with pytest.raises(OSError) as caught:
        record.append(["W*12"], facts(3))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == before
    record.append(["S*12"], facts(3))  # there is room again
    assert json.loads((tmp_path / "a.json").read_text())["actions"] == [*before["actions"], "S*12"]


@pytest.mark.slow
def test_eight_hours(tmp_path):
    record, seconds = Record(tmp_path / "a.json", HEAD), []
    for i, block in enumerate(blocks(60_000)):  # 12 frames each, at 25 a second
        begun = time.perf_counter()
        record.append(block, facts(i))
        seconds.append(time.perf_counter() - begun)
    first, last = (sorted(some) for some in (seconds[100:7600], seconds[-7500:]))
    print(f"median {first[3750] * 1e6:.0f} us in the first hour, {last[3750] * 1e6:.0f} in the eighth; "
          f"99.9 %: {first[-8] * 1e3:.2f} and {last[-8] * 1e3:.2f} ms, most {first[-1] * 1e3:.2f} and {last[-1] * 1e3:.2f} ms")  # fmt: skip
    assert last[3750] < 3 * first[3750] + 1e-4
    assert sum(last) / len(last) < 0.002  # a block takes 0.48 s
