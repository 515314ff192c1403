"""Who may come in: links that work once, cookies, origins, names; and what every answer says about itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from mgcli.game.play.guard import SECURITY_HEADERS, Door
from tests.mgcli.game.play.conftest import Running, tiny_request
from tests.mgcli.game.play.visitor import Visitor
from wan.game.models import GameModels


@pytest.fixture(scope="module")
def server(models: GameModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all: nobody here plays."""
    running = Running(tiny_request(tmp_path_factory.mktemp("play")), models)
    yield running
    running.stop()


ADDRESSES = ["/", "/app.js", "/style.css", "/recording/1/video", "/nothing", "/image"]


@pytest.mark.parametrize("path", ADDRESSES)
def test_nothing_without_the_cookie(server: Running, path: str):
    stranger = Visitor(server.links[-1])
    assert stranger.get(path).status == 403
    stranger.cookie = f"{server.play.door.cookie}=guess"
    assert stranger.get(path).status == 403
    assert stranger.get("/?token=guess").status == 403


def test_a_link_opens_once_and_the_next_one_is_told(server: Running):
    link = server.links[-1]
    first, second = Visitor(link), Visitor(link)
    answer = first.get("/?" + link.split("?")[1])
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert first.get("/").status == 200
    assert second.get("/?" + link.split("?")[1]).status == 403
    assert server.links[-1] != link
    assert second.get("/?" + server.links[-1].split("?")[1]).status == 303


def test_a_used_link_still_leads_its_browser_to_the_page(server: Running):
    link = server.links[-1]
    visitor = server.visitor
    assert visitor.get("/?" + link.split("?")[1]).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", ""])
def test_other_sites_are_turned_away_from_every_request(server: Running, origin: str):
    visitor = server.visitor
    if origin:
        assert visitor.get("/", Origin=origin).status == 403
    assert visitor.get("/image?tab=aaaaaaaa", "POST", b"", Origin=origin).status == 403
    with pytest.raises(InvalidStatus, match="403"), visitor.page(Origin=origin):
        pass


def test_a_socket_needs_the_cookie(server: Running):
    stranger = Visitor(server.links[-1])
    with pytest.raises(InvalidStatus, match="403"), stranger.page():
        pass


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", "localhost.evil"])
def test_a_name_that_someone_pointed_here_is_not_ours(server: Running, host: str):
    visitor = server.visitor
    assert visitor.get("/", Host=host).status in (400, 421)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80"])
def test_nor_for_a_socket(server: Running, host: str):
    visitor = server.visitor
    with pytest.raises(InvalidStatus, match="403"), visitor.page(called=host):
        pass


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:9", "[::1]:80", "192.168.0.7:8000"])
def test_a_tunnel_has_a_port_of_its_own(server: Running, host: str):
    visitor = server.visitor
    assert visitor.get("/", Host=host, Origin=f"http://{host}").status == 200


def test_the_name_we_were_told_to_listen_on():
    door = Door("studio.local", 80)
    assert door.has_host("Studio.local:8000") and not door.has_host("other.local")


@pytest.mark.parametrize("path, status", [("/", 200), ("/style.css", 200), ("/nothing", 404), ("/image", 405)])
def test_every_answer_has_the_security_headers(server: Running, path: str, status: int):
    answer = server.visitor.get(path)
    assert answer.status == status
    assert {name: answer.headers[name.lower()] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "server" not in answer.headers
    stranger = Visitor(server.links[-1]).get(path)
    assert stranger.status == 403 and stranger.headers["content-security-policy"]


def test_the_page_keeps_its_own_policy(server: Running):
    """No script or style in the page itself, and nothing from elsewhere."""
    page = server.visitor.get("/").body.decode()
    assert "<style" not in page and " style=" not in page and " on" + "click" not in page
    assert page.count("<script") == page.count('<script type="module" src="/app.js"') == 1
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


PATHS = [
    "/../pyproject.toml", "/..%2f..%2fpyproject.toml", "/page/../../mg.py", "/%2e%2e/guard.py", "/index.html", "//etc/passwd",
    "/recording/../../../etc/passwd/video", "/recording/0/video", "/recording/-1/video", "/recording/1/record",
    "/recording/" + "9" * 5000 + "/video", "/recording/1%00/video", "/image/-1", "/image/" + "9" * 5000, "/image/../1", "/app.js/", "/app.js%00", "/socket",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p[:40])
def test_no_path_reaches_the_file_system(server: Running, path: str):
    answer = server.visitor.get(path)
    assert answer.status in (404, 307, 400)
    assert b"import" not in answer.body and b"root:" not in answer.body
