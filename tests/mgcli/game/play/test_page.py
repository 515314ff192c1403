"""How the page looks and reads: three sizes, cards, names and contrast for those who see less or nothing, fingers of every kind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.mgcli.game.play.chromium import Chromium, Page
from tests.mgcli.game.play.conftest import Running, playing_page, tiny_request
from tests.mgcli.game.play.qr_reader import read_qr
from wan.game.models import GameModels

SIZES = {"desktop": (1280, 800, False), "portrait": (390, 844, True), "landscape": (844, 390, True)}


@pytest.fixture(scope="module")
def server(models: GameModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """On all addresses, so that there is a link to share; visited on this machine."""
    folder = tmp_path_factory.mktemp("play")
    running = Running(tiny_request(folder, height=64, width=112, fps=25.0, host="0.0.0.0"), models)
    port = running.play.door.cookie.rpartition("_")[2]
    running.play._address = f"http://127.0.0.1:{port}"
    running.links[:] = [running.play.link]
    yield running
    running.stop()


@pytest.fixture(scope="module", params=SIZES)
def sized(request: pytest.FixtureRequest, browser: Chromium, server: Running) -> Iterator[Page]:
    width, height, touch = SIZES[request.param]
    page = playing_page(browser, server, width=width, height=height, touch=touch)
    page.keep_picture(f"page_{request.param}")
    yield page
    errors = page.close()
    assert not errors, errors


@pytest.fixture(scope="module")
def page(browser: Chromium, server: Running) -> Iterator[Page]:
    page = playing_page(browser, server)
    yield page
    errors = page.close()
    assert not errors, errors


def box(page: Page, selector: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom."""
    return page.evaluate(
        f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
        " return [b.left, b.top, b.right, b.bottom]; })()"
    )


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] - 1 and other[0] < one[2] - 1 and one[1] < other[3] - 1 and other[1] < one[3] - 1


# --- where things are -------------------------------------------------------------------------------------------------


def test_everything_is_on_the_page_and_no_name_is_cut(sized: Page):
    width, height = sized.evaluate("[innerWidth, innerHeight]")
    for selector in ("#view", "nav", "header", "#what", "#figures", "#seed", "#help", "#record", "#image"):
        left, top, right, bottom = box(sized, selector)
        assert right > left and bottom > top, f"{selector} can be seen"
        assert left > -1 and top > -1 and right < width + 1 and bottom < height + 1, f"{selector} sticks out"
    assert sized.evaluate(
        "['what', 'figures', 'seed'].every((id) => { const e = document.getElementById(id);"
        " return e.scrollWidth <= e.clientWidth + 1; })"
    )
    assert not overlap(box(sized, "#what"), box(sized, "#figures"))


def test_the_world_is_large(sized: Page):
    width, height = sized.evaluate("[innerWidth, innerHeight]")
    left, top, right, bottom = box(sized, "#view")
    assert (right - left) * (bottom - top) > 0.45 * width * height


def test_a_recording_covers_nothing(sized: Page):
    sized.evaluate("document.getElementById('record').click()")
    sized.wait_for("mgPlay.state().recording > 0")
    sized.evaluate("document.getElementById('record').click()")
    sized.wait_for("!document.getElementById('tape').hidden")
    parts = [
        "#tape",
        "#view",
        *(["#stick", "#look"] if sized.evaluate("!document.getElementById('thumbs').hidden") else []),
    ]
    tape, others = box(sized, "#tape"), [box(sized, part) for part in [*parts[1:], "nav", "header"]]
    assert not any(overlap(tape, other) for other in others)
    assert tape[0] > -1 and tape[2] < sized.evaluate("innerWidth") + 1
    sized.click("#tape .close")
    sized.wait_for("document.getElementById('tape').hidden")


def test_pads_and_buttons_leave_each_other_room(sized: Page):
    if sized.evaluate("document.getElementById('thumbs').hidden"):
        pytest.skip("no thumbs here")
    for one, other in combinations(("#stick", "#look", "nav"), 2):
        assert not overlap(box(sized, one), box(sized, other)), f"{one} and {other}"


def test_a_phone_held_upright_can_show_the_whole_picture(browser: Chromium, server: Running):
    page = playing_page(browser, server, width=390, height=844, touch=True)
    page.click("#whole")
    left, top, right, bottom = box(page, "#view")
    assert (right - left) / (bottom - top) == pytest.approx(112 / 64, rel=0.01)
    assert page.evaluate("document.getElementById('whole').ariaPressed") == "true"
    assert not page.close()


# --- names and contrast -----------------------------------------------------------------------------------------------

NAMED = {"button", "textbox", "combobox", "link", "image", "img", "dialog", "group", "navigation", "region"}


def names(page: Page) -> list[tuple[str, str]]:
    """(role, name) of everything a screen reader is told of."""
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    seen = [node for node in nodes if not node["ignored"]]
    return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in seen if "role" in node]


def test_everything_has_a_name(sized: Page):
    for card in ("", "help", "image", "invite"):
        if card:
            sized.evaluate(f"document.getElementById({card!r}).click()")
        told = names(sized)
        nameless = [role for role, name in told if role in NAMED and not name.strip()]
        assert not nameless, f"{card}: {nameless}"
        assert {"dialog"} & {role for role, _ in told} if card else ("image", "How the camera turns") in told
        sized.evaluate("document.querySelectorAll('dialog').forEach((card) => card.close())")


def test_ids_are_given_once_and_the_page_has_its_landmarks(page: Page):
    assert page.evaluate(
        "new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size === document.querySelectorAll('[id]').length"
    )
    assert {"main", "navigation", "status", "heading"} <= {role for role, _ in names(page)}


# Text and the colour behind it, over a picture and a light that are white: the worst that can be behind glass.
CONTRASTS = """
(() => {
  const parts = (colour) => { const n = colour.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
  const light = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const room = over([255, 255, 255, Number(getComputedStyle(document.getElementById('glow')).opacity)], parts(getComputedStyle(document.body).backgroundColor));
  const behind = (element) => {
    const above = [];
    for (let e = element; e && e.tagName !== 'BODY'; e = e.parentElement) above.push(e);
    const landscape = innerWidth > innerHeight;
    const picture = above.some((e) => e.id === 'view' || e.id === 'stage' && landscape || e.id === 'thumbs' && landscape || e.tagName === 'NAV' && innerHeight < 560);
    return above.reverse().reduce((under, e) => over(parts(getComputedStyle(e).backgroundColor), under), picture ? [255, 255, 255] : room);
  };
  const words = [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility({ opacityProperty: true }) && !e.closest('.unseen, :disabled, svg')
    && [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim()));
  return words.map((e) => {
    const under = behind(e), ink = over(parts(getComputedStyle(e).color), under), [dark, bright] = [luminance(ink), luminance(under)].sort((a, b) => a - b);
    return [e.textContent.trim().slice(0, 30), (bright + 0.05) / (dark + 0.05)];
  });
})()
"""


def test_words_can_be_read_whatever_is_behind_them(sized: Page):
    for card in ("", "help", "image", "invite"):
        if card:
            sized.evaluate(f"document.getElementById({card!r}).click()")
        contrasts = sized.evaluate(CONTRASTS)
        faint = [(words, round(contrast, 1)) for words, contrast in contrasts if contrast < 4.5]
        assert len(contrasts) > 5 and not faint, f"{card}: {faint}"
        sized.evaluate("document.querySelectorAll('dialog').forEach((card) => card.close())")


@pytest.mark.skipif(not os.environ.get("AXE"), reason="AXE names no axe.min.js (npm pack axe-core)")
def test_axe_finds_nothing(sized: Page):
    sized.evaluate(f"{Path(os.environ['AXE']).read_text()}; 0")
    for card in ("", "help", "image", "invite"):
        if card:
            sized.evaluate(f"document.getElementById({card!r}).click()")
            sized.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished)).then(() => 0)")
        found = sized.evaluate(
            "axe.run().then(({ violations }) => violations.map((v) => [v.id, v.nodes.map((n) => n.html)]))"
        )
        assert not found, f"{card}: {found}"
        sized.evaluate("document.querySelectorAll('dialog').forEach((card) => card.close())")


def test_changes_are_announced(page: Page):
    said = "document.getElementById('said').textContent"
    page.click("#pause")
    page.wait_for(f"{said} === 'Paused'")
    page.click("#pause")
    page.wait_for(f"{said} === 'Playing'")
    page.click("#restart")
    page.wait_for(f"{said}.startsWith('A world begins: garden.png, seed')")
    assert page.evaluate("document.getElementById('said').role") == "status"


# --- cards and keys ---------------------------------------------------------------------------------------------------


def press(page: Page, key: str) -> None:
    page.key(key, down=True)
    page.key(key, down=False)


def test_the_card_of_keys(page: Page):
    page.evaluate("document.getElementById('screen').focus()")
    press(page, "?")
    page.wait_for("document.getElementById('keys').open")
    shown = page.evaluate("[...document.querySelectorAll('#key-rows kbd')].map((cap) => cap.textContent)")
    assert {*"WASDIJKLF?", "↑", "↓", "←", "→", "space", "mouse"} == set(shown)
    press(page, "w")
    assert page.evaluate("mgPlay.input.held.length") == 0, "nobody walks behind a card"
    press(page, "Escape")
    page.wait_for("!document.getElementById('keys').open")
    page.click("#help")
    page.wait_for("document.getElementById('keys').open")
    page.click("#keys .close")
    page.wait_for("!document.getElementById('keys').open")


def test_a_key_that_is_let_go_behind_a_card_is_let_go(page: Page):
    page.evaluate("document.getElementById('screen').focus()")
    page.key("w", down=True)
    press(page, "?")
    page.wait_for("document.getElementById('keys').open")
    page.key("w", down=False)
    assert page.evaluate("mgPlay.input.held") == []
    press(page, "Escape")
    page.wait_for("!document.getElementById('keys').open")


def test_full_screen(page: Page):
    page.evaluate("document.getElementById('screen').focus()")
    press(page, "f")
    page.wait_for("document.fullscreenElement !== null")
    press(page, "f")
    page.wait_for("document.fullscreenElement === null")


def test_the_quality_of_the_picture(page: Page):
    change = "(q => { q.value = %r; q.dispatchEvent(new Event('change')); })(document.getElementById('quality'))"
    page.evaluate(change % "4")
    page.wait_for("mgPlay.state().quality === 45")
    page.evaluate(change % "0")
    page.wait_for("mgPlay.state().quality === 92")


PAD = """
window.pad = { mapping: 'standard', axes: [0, 0, 0, 0], buttons: Array.from({ length: 16 }, () => ({ pressed: false })) };
navigator.getGamepads = () => [null, window.pad];
dispatchEvent(new Event('gamepadconnected'));
"""


def test_a_gamepad(page: Page):
    page.evaluate(PAD)
    page.evaluate("pad.axes = [0.7, -0.7, 0, 0]")
    page.wait_for("['W', 'D'].every((letter) => document.querySelector(`#caps .lit.cap-${letter}`))")
    page.evaluate("pad.axes = [0, 0.05, -0.8, 0]")
    page.wait_for("document.querySelector('#pad.lit') && !document.querySelector('#caps .lit')")
    page.evaluate("pad.axes = [0, 0, 0, 0]; pad.buttons[14].pressed = true")
    page.wait_for("document.querySelector('#caps .lit')?.textContent === 'A'")
    page.evaluate("pad.buttons[14].pressed = false; pad.buttons[9].pressed = true")
    page.wait_for("mgPlay.state().phase === 'paused'")
    page.evaluate("pad.buttons[9].pressed = false")
    page.evaluate("new Promise((done) => setTimeout(done, 100)).then(() => { pad.buttons[9].pressed = true; })")
    page.wait_for("mgPlay.state().phase === 'playing'")
    page.evaluate("navigator.getGamepads = () => []")
    page.wait_for("mgPlay.input.held.length === 0")


def test_several_kinds_of_fingers_hold_together(page: Page):
    page.evaluate("mgPlay.input.hold('stick', ['W', 'D']); mgPlay.input.press('A', true, 1)")
    assert page.evaluate("mgPlay.input.held") == ["W", "D", "A"]
    page.evaluate("mgPlay.input.hold('stick', ['D'])")
    assert page.evaluate("mgPlay.input.held") == ["D", "A"]
    page.evaluate("mgPlay.input.release()")
    assert page.evaluate("mgPlay.input.held") == []


def test_a_hint_when_the_view_no_longer_changes(page: Page):
    hint = "document.getElementById('hint').textContent"
    page.evaluate("mgPlay.stillness.copy = () => new Uint8ClampedArray(16 * 9 * 4)")
    page.key("w", down=True)
    page.wait_for(f"{hint}.startsWith('The view stands still')")
    page.key("w", down=False)
    page.wait_for(f"!{hint}.startsWith('The view')")
    page.evaluate("delete mgPlay.stillness.copy")


def test_what_counts_as_a_change(page: Page):
    """Noise does not, the next corner does."""
    differ = "import('/still.js').then(({ difference }) => difference(%s, %s))"
    flat = [100] * 576
    noisy = [c + i % 9 for i, c in enumerate(flat)]
    corner = [c + 90 * (i % 64 < 12) for i, c in enumerate(flat)]
    assert page.evaluate(differ % (json.dumps(flat), json.dumps(noisy))) < 10
    assert page.evaluate(differ % (json.dumps(flat), json.dumps(corner))) > 10


# --- a link for another device ----------------------------------------------------------------------------------------


def test_the_link_to_share_is_one_that_opens(page: Page, server: Running):
    page.click("#invite")
    page.wait_for("document.getElementById('share').open")
    assert page.evaluate("document.getElementById('link').textContent") == server.links[-1]
    path = page.evaluate("document.querySelector('#code path').getAttribute('d')")
    size = int(page.evaluate("document.getElementById('code').getAttribute('viewBox')").split()[-1]) - 8
    dark = {tuple(int(n) - 4 for n in module.split("h")[0].split()) for module in path.split("M")[1:]}
    assert read_qr([[(x, y) in dark for x in range(size)] for y in range(size)]) == server.links[-1]
    page.evaluate(
        "window.addEventListener('copy', (event) => { window.copied = event.clipboardData.getData('text/plain'); })"
    )
    page.click("#copy-link")
    page.wait_for("window.copied === document.getElementById('link').textContent")
    page.click("#share .close")


@pytest.mark.parametrize("length", [1, 14, 15, 62, 63, 106, 107, 180, 181, 213])
def test_codes_of_every_size(page: Page, length: int):
    text = ("http://192.168.1.7:8000/?token=" + "aZ09-_" * 40)[:length]
    assert read_qr(code_of(page, text)) == text


def test_what_is_too_long_for_a_code(page: Page):
    refused = page.evaluate(
        "import('/qr.js').then(({ qr }) => { try { qr('x'.repeat(214)); } catch (e) { return e.message; } })"
    )
    assert refused == "214 bytes are too long for this QR code"


def code_of(page: Page, text: str) -> Any:
    return page.evaluate(f"import('/qr.js').then(({{ qr }}) => qr({text!r}))")


def test_nothing_to_share_on_one_machine(
    browser: Chromium, models: GameModels, tmp_path_factory: pytest.TempPathFactory
):
    alone = Running(tiny_request(tmp_path_factory.mktemp("alone")), models)
    page = playing_page(browser, alone)
    assert page.evaluate("document.getElementById('invite').hidden")
    assert not page.close()
    alone.stop()
