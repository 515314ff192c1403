"""The server with pages that behave, pages that do not, and none."""

from __future__ import annotations

import io
import json
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed

from mgcli.game.play.hub import MOST_CLIENTS
from mgcli.game.play.images import LARGEST_FILE, decode_image
from tests.mgcli.game.play.conftest import FAST, Running, tiny_request
from tests.mgcli.game.play.test_messages import mangled
from tests.mgcli.game.play.visitor import Visitor
from wan.game.conditions import image_tensor
from wan.game.models import GameModels


@pytest.fixture(scope="module")
def server(models: GameModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all tests that leave it playing."""
    running = Running(tiny_request(tmp_path_factory.mktemp("play")), models)
    yield running
    running.stop()


def test_frames_arrive_and_answer_keys(server: Running):
    with server.visitor.page() as page:
        state = page.until(leads=True, phase="playing")
        assert (state["model"], state["mode"], state["width"]) == ("embedded mini world", "universal", 48)
        page.say("keys", keys="WD", at=1234.5)
        answered = next(shown for shown in page.frames() if shown.key_at == 1234.5)
        bits = [key["letter"] for i, key in enumerate(state["keys"]) if answered.keys >> i & 1]
        assert bits == ["W", "D"]
        assert Image.open(io.BytesIO(answered.jpeg)).size == (48, 32)
        page.say("look", right=-50, down=0)
        assert next(shown for shown in page.frames() if shown.turn[1] < 0).turn[0] == 0


def test_every_frame_comes_in_order(server: Running):
    with server.visitor.page() as page:
        frames = [shown for shown, _ in zip(page.frames(), range(60))]
    assert [f.number for f in frames] == list(range(frames[0].number, frames[0].number + 60))
    gaps = [b.due - a.due for a, b in zip(frames, frames[1:])]
    assert min(gaps) >= 1000 / FAST - 1e-6


def test_the_second_page_watches_until_it_takes_over(server: Running):
    visitor = server.visitor
    with visitor.page() as first, visitor.page() as second:
        first.until(leads=True, watchers=1)
        second.until(leads=False, taken=True)
        second.say("keys", keys="S", at=1)
        second.say("restart", seed=99)
        first.say("keys", keys="W", at=7)
        seen = next(shown for shown in second.frames() if shown.keys)
        assert seen.keys == 1 and seen.key_at == 0, "another page's clock says nothing here"
        second.say("lead")
        second.until(leads=True)
        first.until(leads=False)
        assert next(shown for shown in second.frames() if not shown.keys), "what the first one held is released"
        assert server.play.session.describe()["seed"] != 99


def test_reconnecting_keeps_the_world(server: Running):
    visitor = server.visitor
    with visitor.page(tab="reconnecting") as page:
        before = [shown for shown, _ in zip(page.frames(), range(30))][-1]
    with visitor.page(tab="reconnecting") as page:
        after = next(page.frames())
        page.until(leads=True)
    assert after.world == before.world and after.number > before.number


def test_nobody_is_there_and_the_world_waits(server: Running):
    with server.visitor.page() as page:
        last = [shown for shown, _ in zip(page.frames(), range(12))][-1]
    time.sleep(0.6)
    with server.visitor.page() as page:
        assert next(page.frames()).block <= last.block + 4


def test_the_same_tab_takes_its_own_place(server: Running):
    """A connection that is lost without a word is still there for the server when the page comes back."""
    visitor = server.visitor
    with visitor.page(tab="samesametab") as before, visitor.page(tab="samesametab") as after:
        after.until(leads=True)
        with pytest.raises(ConnectionClosed) as closed:
            for _ in before.frames():
                pass
        assert closed.value.rcvd and closed.value.rcvd.code == 4001
        after.until(leads=True, watchers=0)


def test_only_so_many_pages(server: Running):
    visitor = server.visitor
    with ExitStack() as stack:
        pages = [stack.enter_context(visitor.page()) for _ in range(MOST_CLIENTS)]
        pages[-1].until(watchers=MOST_CLIENTS - 1)
        with visitor.page() as late, pytest.raises(ConnectionClosed) as closed:
            late.hear()
        assert closed.value.rcvd and closed.value.rcvd.code == 4002


def test_a_page_that_says_nothing_stalls_nobody(server: Running):
    """It never reads and never answers; the other one gets every frame at the full rate."""
    visitor = server.visitor
    with visitor.page() as good, visitor.page():
        good.until(phase="playing", watchers=1)
        frames = [shown for shown, _ in zip(good.frames(), range(240))]
        assert frames[-1].number - frames[0].number == 239
        slow = server.play.hub.clients[-1]
        assert slow.sent <= 12 and slow.dropped > 100 and len(slow._frames) <= 18
        assert slow.pace.step > 0


def test_a_page_gets_the_quality_it_wants(server: Running):
    visitor = server.visitor
    with visitor.page() as page, visitor.page() as other:
        page.until(phase="playing")
        page.say("quality", best=5)
        page.until(quality=30)
        first = next(page.frames())
        assert all(
            shown.number % 3 == 0 for shown, _ in zip(page.frames(), range(12)) if shown.number > first.number + 24
        )
        other.hear()
        assert other.until(phase="playing")["quality"] > 30


def test_a_link_to_share_is_for_who_plays_on_a_network(serving: Callable[..., Running]):
    running = serving(host="0.0.0.0")
    visitor = running.visitor
    with visitor.page() as page, visitor.page() as watcher:
        page.until(leads=True, link=running.links[-1])
        watcher.until(leads=False, link=None)
        assert Visitor(running.links[-1]).get("/?" + page.state["link"].split("?")[1]).status == 303
        page.until(link=running.links[-1])


def test_there_is_nothing_to_share_on_one_machine(server: Running):
    with server.visitor.page() as page:
        page.until(leads=True, link=None)


def test_restart_seed_pause_from_the_page(serving: Callable[..., Running]):
    with serving().visitor.page() as page:
        page.until(phase="playing", world=1)
        page.say("restart", seed=41)
        assert next(shown for shown in page.frames() if shown.world == 2).number == 0
        page.until(world=2, seed=41, phase="playing")
        page.say("pause", on=True)
        page.until(phase="paused")
        page.say("pause", on=False)
        page.until(phase="playing")
        page.say("restart", seed=None)
        page.until(world=3, seed=41)


def picture(size: tuple[int, int] = (64, 48), kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, kind, **options)
    return file.getvalue()


def test_start_images_from_the_page(server: Running):
    visitor = server.visitor
    with visitor.page() as page, visitor.page() as watcher:
        page.until(phase="playing")
        for kind in ("PNG", "JPEG", "WEBP"):
            assert visitor.post(f"/image?tab={page.tab}", picture(kind=kind)).status == 204
        page.until(image="your image", phase="playing")
        assert visitor.post(f"/image?tab={watcher.tab}", picture()).status == 409
        own = [entry for entry in page.state["gallery"] if entry["own"]]
        assert [entry["current"] for entry in own] == [False, False, True], "png, jpeg and webp differ a little"
        seen = visitor.get(f"/image/{own[0]['number']}")
        assert seen.headers["content-type"] == "image/jpeg" and Image.open(io.BytesIO(seen.body)).size == (320, 213)
        assert visitor.get("/image/999").status == 404
        page.say("image", number=0)
        page.until(image="garden.png")


def bomb() -> bytes:
    """A small PNG whose header says 20000x20000."""
    header = b"IHDR" + struct.pack(">2I5B", 20000, 20000, 8, 2, 0, 0, 0)
    rest = picture()[8 + 25 :]
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + rest


def test_an_image_of_any_size_becomes_what_the_world_sees():
    """So that it is small where it is kept, and the original file still begins the same world."""
    image = Image.linear_gradient("L").convert("RGB").resize((300, 200))
    file = io.BytesIO()
    image.save(file, "PNG")
    seen = decode_image(file.getvalue(), 32, 48)
    assert seen.size == (48, 32)
    assert image_tensor(seen, 32, 48).equal(image_tensor(image, 32, 48))


BAD_IMAGES = {
    "nothing": b"",
    "text": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
    "a gif": picture(kind="GIF"),
    "tiny": picture((4, 4)),
    "cut": picture((640, 480), "JPEG")[:400],
    "many pixels": bomb(),
    "many bytes": b"\x89PNG\r\n\x1a\n" + bytes(LARGEST_FILE),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_images_that_are_refused(server: Running, name: str):
    visitor = server.visitor
    with visitor.page() as page:
        page.until(phase="playing")
        answer = visitor.post(f"/image?tab={page.tab}", BAD_IMAGES[name])
        assert answer.status == 422 and answer.body.count(b"\n") == 1 and b"object at" not in answer.body
        assert next(page.frames()).world == page.state["world"]


def test_broken_images_never_break_the_server(server: Running):
    rng = random.Random(3)
    visitor = server.visitor
    with visitor.page() as page:
        page.until(phase="playing")
        for _ in range(150):
            data = bytearray(picture((40, 40), rng.choice(["PNG", "JPEG", "WEBP"])))
            for _ in range(rng.randrange(1, 30)):
                data[rng.randrange(8, len(data))] = rng.randrange(256)
            assert visitor.post(f"/image?tab={page.tab}", bytes(data)).status in (204, 422)
        page.until(phase="playing")


def test_a_recording_is_downloaded(serving: Callable[..., Running], tmp_path: Path):
    running = serving()
    visitor = running.visitor
    with visitor.page() as page:
        page.until(phase="playing")
        page.say("record", on=True)
        first = page.until(phase="playing") and next(page.frames()).block
        next(shown for shown in page.frames() if shown.block >= first + 4)
        page.say("record", on=False)
        while not page.until(recording=None)["recordings"]:
            page.hear()
        (cut,) = page.state["recordings"]
        assert (cut["number"], cut["name"]) == (1, "play_1.mp4")
    video, script = visitor.get("/recording/1/video"), visitor.get("/recording/1/script")
    assert video.body == (tmp_path / "play_1.mp4").read_bytes()
    assert 'filename="play_1.mp4"' in video.headers["content-disposition"]
    assert json.loads(script.body)["actions"] and 'filename="play_1.json"' in script.headers["content-disposition"]
    assert visitor.get("/recording/2/video").status == 404


def test_stopping_finishes_the_recording_and_tells_the_pages(serving: Callable[..., Running], tmp_path: Path):
    running = serving()
    with running.visitor.page() as page:
        page.until(phase="playing")
        page.say("record", on=True)
        next(shown for shown in page.frames() if running.play.session.tape.frames > 12)
        running.play.stop()
        with pytest.raises(ConnectionClosed) as closed:
            for _ in page.frames():
                pass
    assert closed.value.rcvd and closed.value.rcvd.code == 1012
    running.stop()
    (cut,) = running.play.session.tape.finished
    assert b"moov" in (tmp_path / "play_1.mp4").read_bytes() and cut.frames > 12


def test_an_error_of_the_model_ends_the_server_with_it(
    serving: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
):
    running = serving()
    raised: list[BaseException] = []
    with running.visitor.page() as page:
        page.until(phase="playing")
        monkeypatch.setattr("threading.excepthook", lambda args: raised.append(args.exc_value))
        monkeypatch.setattr(running.play.session.controls, "sample", lambda frames: 1 / 0)
        with pytest.raises(ConnectionClosed):
            for _ in page.frames():
                pass
    running.stop()
    assert isinstance(raised[0], ZeroDivisionError)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def test_thousands_of_malformed_messages(serving: Callable[..., Running]):
    """The session survives, errors are counted, memory stays flat, floods are shut out."""
    rng, running = random.Random(11), serving()
    visitor, hub = running.visitor, running.play.hub
    with visitor.page() as page:
        page.until(phase="playing")
        before, sent = resident_mib(), 0
        while sent < 12000:
            sent += flood(visitor, rng)
            page.say("lead")  # some of what was mangled still was a message, and may have paused the world
            page.say("pause", on=False)
            next(page.frames())
        after = resident_mib()
        page.say("keys", keys="W", at=5)
        assert next(shown for shown in page.frames() if shown.key_at == 5).keys == 1
    assert hub.malformed > 4000 and hub.floods > 3
    assert after - before < 30, f"{after - before:.0f} MiB more"


def flood(visitor, rng: random.Random) -> int:
    """As fast as it goes, until the server has had enough; it also sends what is too long."""
    sent = 0
    try:
        with visitor.page() as page:
            for _ in range(2000):
                sent += 1
                if rng.random() < 0.1:
                    page.socket.send(rng.randbytes(rng.randrange(200)))
                elif rng.random() < 0.001:
                    page.socket.send("x" * 100_000)
                else:
                    page.socket.send(mangled(rng))
    except ConnectionClosed:
        pass
    return sent
