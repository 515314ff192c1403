"""docs/python.md and the notebook do what they say: their code is run, as it stands, in an empty folder."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import mgcli
import wan22
from tests.docs.pages import blocks

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "python.md"
NOTEBOOK = json.loads((DOCS / "tour.ipynb").read_text(encoding="utf-8"))


def shown(code: str, names: dict[str, Any]) -> Any:
    """Runs a cell; what its last line comes to is what a notebook shows."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def test_the_page(tmp_path, monkeypatch):
    pytest.importorskip("gymnasium")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(PAGE, "python"):
        compile(block.text, str(block), "exec") if block.mark else shown(block.text, names)
    assert {"walk.mp4", "walk.json", "stars.mp4", "episode.mp4"} <= {path.name for path in tmp_path.iterdir()}


def test_the_page_lists_the_public_names():
    gym = pytest.importorskip("mgcli.gym", exc_type=ImportError)
    for module in (mgcli, gym, wan22):
        [row] = re.findall(rf"^\| `{module.__name__}` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) == set(module.__all__)


@pytest.mark.slow  # a quarter of a minute; the page beside it runs the same calls
def test_the_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    made = {cell["id"]: shown("".join(cell["source"]), names) for cell in cells}
    for name in ("walk", "other", "run", "accelerated"):
        assert "<video" in made[name]._repr_html_()
    assert made["begin"] == ((9, 96, 160, 3), "uint8") and bool(made["state"])
    assert made["save"] == Path("stars.mp4")


def test_the_notebook_is_kept_without_what_it_showed():
    for cell in NOTEBOOK["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    assert (DOCS / "tour.ipynb").stat().st_size < 10_000
