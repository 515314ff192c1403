"""The pages hang together: links lead somewhere, blocks say their language, translations hold the same facts."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import LANGUAGES, PAGES, ROOT, all_blocks, anchor, blocks, headings, links, rows

TRANSLATED = [page for page in PAGES if page.name.endswith(".zh.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for link in links(page):
        path, _, part = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} refers to {link}"
        assert not part or part in map(anchor, (title for _, title in headings(target))), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_say_their_language(page: Path):
    assert {block.language for block in all_blocks(page)} <= LANGUAGES
    assert page.read_text(encoding="utf-8").count("\n```") == 2 * len(all_blocks(page)), "a block that does not end"


def test_every_page_is_in_the_index():
    listed = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in links(ROOT / "docs" / "README.md")}
    assert {page for page in PAGES if page.parent.name == "docs" and page.name != "README.md"} <= listed


def test_the_first_page_is_one_screen():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 95


def test_pictures_are_small():
    assert all(path.stat().st_size < 2**20 for path in (ROOT / "docs").glob("*.webp"))


def english(page: Path) -> Path:
    return page.with_name(page.name.replace(".zh.md", ".md"))


def numbers(page: Path) -> list[list[str]]:
    """Of each row of a table; a language may have them in another order."""
    return [sorted(re.findall(r"\d+(?:[.,]\d+)*", "|".join(row))) for row in rows(page)]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translation_has_the_same_commands(page: Path):
    def facts(of: Path) -> list[tuple[str, list[str]]]:
        return [(block.mark, block.commands()) for block in blocks(of)]

    assert facts(page) == facts(english(page))


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translation_has_the_same_numbers_and_parts(page: Path):
    assert numbers(page) == numbers(english(page))
    assert [level for level, _ in headings(page)] == [level for level, _ in headings(english(page))]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translation_leads_to_the_same_pages(page: Path):
    def targets(of: Path) -> set[str]:
        return {re.sub(r"\.zh\.md|\.md|#.*", "", link) for link in links(of)}

    assert targets(page) == targets(english(page))


def test_the_first_pages_are_translated():
    assert {page.name for page in TRANSLATED} >= {"README.zh.md", "start-here.zh.md"}
