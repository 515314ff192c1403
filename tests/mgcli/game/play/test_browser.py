"""The page in a real browser: what is pressed reaches the session, what comes back is seen. Screenshots are kept in outputs/."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from tests.mgcli.game.play.chromium import Chromium, Page
from tests.mgcli.game.play.conftest import Running, opened, playing_page, tiny_request
from wan.game.models import GameModels


@pytest.fixture(scope="module")
def server(models: GameModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tiny_request(tmp_path_factory.mktemp("play"), height=64, width=112, fps=25.0), models)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def page(browser: Chromium, server: Running) -> Iterator[Page]:
    """One for all tests; each leaves it playing."""
    page = playing_page(browser, server)
    yield page
    errors = page.close()
    assert not errors, errors


def wait_until_lit(page: Page, letter: str) -> None:
    page.wait_for(f"[...document.querySelectorAll('#caps .lit')].some((cap) => cap.textContent === {letter!r})")


def test_keys_reach_the_model_and_pictures_come_back(page: Page):
    first = page.evaluate("document.getElementById('screen').toDataURL()")
    page.key("w", down=True)
    wait_until_lit(page, "W")
    page.key("a", down=True)
    wait_until_lit(page, "A")
    assert page.evaluate("document.getElementById('screen').toDataURL()") != first
    latency = page.wait_for("mgPlay.screen.latency")
    assert 50 < latency < 5000
    page.wait_for(
        "document.getElementById('latency').textContent !== '–' && document.getElementById('rate').textContent > 5"
    )
    shown = Image.open(page.keep_picture("play_desktop"))
    assert min(ImageStat.Stat(shown.convert("L").crop((200, 200, 1000, 600))).stddev) > 10, "there is a picture"
    page.key("w", down=False)
    page.key("a", down=False)
    page.wait_for("!document.querySelector('#caps .lit')")


def test_the_mouse_turns_the_camera(page: Page):
    page.click("#screen")
    page.wait_for("document.pointerLockElement?.id === 'screen'")
    for x in range(100, 900, 20):
        page.mouse("mouseMoved", x, 300)
    page.wait_for("document.querySelector('#pad.lit') !== null")
    page.evaluate("document.exitPointerLock()")
    page.wait_for("!document.querySelector('#pad.lit')")


def test_a_lost_connection_comes_back_to_the_same_world(page: Page, server: Running):
    world, frames = page.evaluate("[mgPlay.state().world, mgPlay.screen.last.number]")
    page.key("d", down=True)
    wait_until_lit(page, "D")
    server.cut_connections()
    page.wait_for(
        "!document.getElementById('veil').hidden && document.getElementById('message').textContent.includes('lost')"
    )
    page.wait_for(f"document.getElementById('veil').hidden && mgPlay.screen.last?.number > {frames}")
    assert page.evaluate("mgPlay.state().leads && mgPlay.state().world") == world
    wait_until_lit(page, "D")
    page.key("d", down=False)


def test_the_second_tab_watches_and_may_take_over(page: Page, browser: Chromium, server: Running):
    second = opened(browser, server)
    second.wait_for("document.body.classList.contains('watching')")
    assert second.evaluate("document.getElementById('pause').disabled")
    second.click("#hint button")
    second.wait_for("mgPlay.state().leads")
    second.close()
    page.wait_for("document.getElementById('hint').textContent.startsWith('Nobody plays')")
    page.click("#hint button")
    page.wait_for("mgPlay.state().leads")


def test_pause_restart_seed(page: Page):
    page.key(" ", down=True)
    page.key(" ", down=False)
    page.wait_for("document.getElementById('message').textContent === 'Paused'")
    page.click("#answer")
    page.wait_for("mgPlay.state().phase === 'playing'")
    world = page.evaluate("mgPlay.state().world")
    page.evaluate("document.getElementById('seed').value = '77'; document.getElementById('seeds').requestSubmit()")
    page.wait_for(f"mgPlay.state().seed === 77 && mgPlay.state().world === {world + 1}")
    page.click("#restart")
    page.wait_for(f"mgPlay.state().world === {world + 2} && mgPlay.screen.last.world === {world + 2}")


def test_another_image(page: Page, tmp_path: Path):
    Image.linear_gradient("L").save(tmp_path / "ramp.png")
    node = page.call("DOM.querySelector", nodeId=page.call("DOM.getDocument")["root"]["nodeId"], selector="#file")
    page.call("DOM.setFileInputFiles", files=[str(tmp_path / "ramp.png")], nodeId=node["nodeId"])
    page.wait_for("mgPlay.state().image === 'your image'")
    page.click("#image")
    page.wait_for("document.querySelector('#images [aria-current]')?.textContent === 'yours'")
    page.wait_for("[...document.querySelectorAll('#images img')].every((image) => image.naturalWidth === 320)")
    page.click("#images .tile:nth-child(3)")
    page.wait_for("mgPlay.state().image === 'dusk.png' && !document.getElementById('gallery').open")
    page.click("#image")
    page.click("#images .tile:nth-child(2)")
    page.wait_for("mgPlay.state().image === 'garden.png'")


def test_a_recording_is_downloaded_with_its_script(page: Page, browser: Chromium, server: Running, tmp_path: Path):
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.wait_for("mgPlay.screen.last.number > 24")
    page.click("#record")
    page.wait_for("mgPlay.state().recording > 12")
    page.click("#record")
    page.wait_for("document.querySelector('#tape code')?.textContent.startsWith('mg generate --actions')")
    told = page.evaluate("document.querySelector('#tape p').textContent")
    (cut,) = server.play.session.tape.finished
    whole = cut.first_frame + cut.frames
    assert f"{cut.frames} frames" in told and f"from the start of the world, {whole} frames" in told
    assert page.evaluate("document.getElementById('said').textContent") == f"Recorded play_1.mp4, {cut.frames} frames"
    deadline = time.monotonic() + 10
    while sorted(path.suffix for path in tmp_path.iterdir()) != [".json", ".mp4"]:
        assert time.monotonic() < deadline, list(tmp_path.iterdir())
        time.sleep(0.05)


def test_thumbs_on_a_phone(browser: Chromium, server: Running):
    page = playing_page(browser, server, width=390, height=844, touch=True)
    left, top, width, height = page.evaluate(
        "(() => { const b = document.getElementById('stick').getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()"
    )
    stick = (left + width / 2, top + height * 0.1)
    page.touch("touchStart", stick)
    wait_until_lit(page, "W")
    right, middle = page.evaluate(
        "(() => { const b = document.getElementById('look').getBoundingClientRect(); return [b.left, b.top + b.height / 2]; })()"
    )
    page.touch("touchStart", stick, (right + 20, middle))
    for x in range(20, 160, 10):
        page.touch("touchMove", stick, (right + x, middle))
    page.wait_for("document.querySelector('#pad.lit') !== null")
    assert Image.open(page.keep_picture("play_phone")).size == (780, 1688)
    page.touch("touchEnd")
    page.wait_for("!document.querySelector('#caps .lit')")
    assert not page.close()
