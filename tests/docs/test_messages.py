"""Every message that docs/troubleshooting.md quotes is one that the tool prints: `...` stands for what differs."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import ROOT, headings

QUOTED = [m[1] for _, title in headings(ROOT / "docs" / "troubleshooting.md") if (m := re.fullmatch(r"`(.+)`", title))]
OF_A_SHELL = {"mg: command not found", "zsh: no matches found: 832*480"}
GAP = "\0"  # what is filled in when the message is said


def templates() -> Iterator[str]:
    """Every string of the packages and of the Makefile, with gaps where something is put in."""
    yield (ROOT / "Makefile").read_text(encoding="utf-8")
    for package in ("mgcli", "wan", "wan22", "wanmini"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(v.value) if isinstance(v, ast.Constant) else GAP for v in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


SAID = list(templates())


def is_said(message: str) -> bool:
    pieces = [re.escape(piece) for piece in message.split("...")]
    filled = re.compile(rf"[^\n]*?(?:{GAP}|%s|%d|%\.40s)[^\n]*?".join(pieces))
    return any(filled.search(template) for template in SAID)


@pytest.mark.parametrize("message", [m for m in QUOTED if m not in OF_A_SHELL])
def test_a_quoted_message_is_said(message: str):
    assert is_said(message)


def test_what_is_never_said_is_found():
    assert not is_said("out of device memory: buy another card")
    assert len(QUOTED) > 30
