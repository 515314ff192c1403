"""The pages of this project, and what can be taken out of them: blocks, tables, headings, links.

A block of commands is ```sh. On the pages that newcomers follow, each is run as it is printed, unless a comment before it
says why not: `<!-- not run: REASON -->`, or `<!-- slow: REASON -->` for one that `make test` leaves out.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("[ctw]*/README.md")])
LANGUAGES = {"sh", "python", "text", "yaml", "json"}
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|slow): [^\n]+ -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    mark: str  # "", "slow" or "not run"

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[str]:
        """Without comments, which may be in another language, and with continued lines joined."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        kept = [re.sub(r"(^|\s)#\s.*", "", line).strip() for line in lines]
        return [line for line in kept if line]


def blocks(page: Path, language: str = "sh") -> list[Block]:
    return [block for block in all_blocks(page) if block.language == language]


def all_blocks(page: Path) -> list[Block]:
    content = page.read_text(encoding="utf-8")
    return [
        Block(page, content[: m.start("text")].count("\n") + 1, m["language"], m["text"], m["mark"] or "")
        for m in BLOCK.finditer(content)
    ]


def prose(page: Path) -> str:
    """Without blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def headings(page: Path) -> list[tuple[int, str]]:
    return [(len(m[1]), m[2]) for m in re.finditer(r"^(#+) (.+)$", prose(page), re.M)]


def rows(page: Path) -> list[list[str]]:
    """The cells of all tables."""
    return [line.strip("|").split("|") for line in prose(page).splitlines() if line.startswith("|")]


def links(page: Path) -> list[str]:
    """What the page refers to, addresses on the web left out."""
    targets = re.findall(r"\]\(([^()\s]+)\)", prose(page))
    return [target for target in targets if not target.startswith(("http:", "https:"))]


def anchor(heading: str) -> str:
    """As GitHub names it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
