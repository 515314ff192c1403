"""Every command that a page shows is one that the command lines take."""

import pytest

from tests.docs.documented import APPS, check, programs
from tests.docs.pages import PAGES, ROOT, blocks, rows

LINES = [(str(block), line) for page in PAGES for block in blocks(page) for line in block.commands()]


@pytest.mark.parametrize(("where", "line"), LINES)
def test_a_documented_command_is_taken(where: str, line: str):
    for words in programs(line):
        check(words)


@pytest.mark.parametrize("program", APPS)
def test_every_command_is_in_the_index(program: str):
    index = "|".join(cell for row in rows(ROOT / "docs" / "README.md") for cell in row)
    assert [name for name in APPS[program].commands if f"`{program} {name}" not in index] == []


@pytest.mark.parametrize("line", [
    "mg dance", "mg generate --tempo 3", "mg generate --mode chess", 'mg generate --actions "X*3"', "wan22 t2v --accel most --prompt p",
    "wan22 plan --size 833x480", "wan22 compare --comparison_mode best --prompt p", "make tea", "curl example", "python -m wanmini.study --tempo 3",
    'pip install ".[everything]"', 'pip install "./mgcli-9.9.9-py3-none-any.whl"',
])  # fmt: skip
def test_a_wrong_one_is_not(line: str):
    with pytest.raises(Exception):  # noqa: B017  each is refused in its own way
        for words in programs(line):
            check(words)
