"""The direction of imports, mgcli -> wanmini -> wan22 -> wan, no circles, and what may not be imported when a module loads."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("wan", "wan22", "wanmini", "mgcli")  # each may import itself and what stands before it
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
CUDA_ONLY = {"triton", "flash_attn", "flash_attn_interface"}
KERNELS = "wan.fast.kernels.triton_"  # the files whose decorators need triton; like it, imported inside functions
PEERS = {"diffusers", "transformers", "sentencepiece", "gguf"}  # dev-only: the proof that file layouts are read right
# From Python a product has its library's name: `wan22.generate` is answered above, as the command `wan22` is. This file may look
# there, when it is asked or for types; nothing else of the library may, and nothing of it imports this file's names.
FRONT_DOOR = {"wan22": "mgcli.python.video"}
MEASURES_PEERS = "mgcli.bench.peers"  # where a benchmark is asked to; inside a function, like triton


def imported(nodes: Iterator[ast.AST], path: Path) -> set[str]:
    """Dotted names of absolute imports, with what a `from` takes; relative ones do not occur (and fail here)."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the import out in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def at_load(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: everything outside functions and `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(tree):
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not typing_only:
            yield child
            yield from at_load(child)


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports(path: Path):
    layer = path.relative_to(ROOT).parts[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    everywhere, loading = packages(imported(ast.walk(tree), path)), imported(at_load(tree), path)
    name = dotted(path)

    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    upwards = {module for module in imported(ast.walk(tree), path) if module.split(".")[0] in above}
    assert not upwards & loading, f"{layer} must not import {upwards}"
    behind = FRONT_DOOR.get(name, "nothing")
    astray = {module for module in upwards if not f"{module}.".startswith(f"{behind}.")}
    assert not astray, f"{layer} must not import {astray}"
    peers = (packages(loading) if name == MEASURES_PEERS else everywhere) & PEERS
    assert not peers, f"{peers} are for tests only"
    if not name.startswith(KERNELS):
        late = {module for module in loading if module.split(".")[0] in CUDA_ONLY or module.startswith(KERNELS)}
        assert not late, f"import {late} inside the function that needs it"


def read_by(path: Path, modules: set[str]) -> set[str]:
    """The modules that a file imports anywhere, inside functions and for its types as well."""
    found = set()
    for name in imported(ast.walk(ast.parse(path.read_text(encoding="utf-8"))), path):
        while name and name not in modules:  # what is taken from a module is no module
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {""}


def test_no_file_imports_one_that_imports_it():
    """An import inside a function hides a circle from Python, not from the reader."""
    modules = {dotted(path) for path in FILES}
    graph = {dotted(path): read_by(path, modules) for path in FILES}
    assert graph["wan.fast.kernels.norm"] >= {"wan.fast.kernels", "wan.fast.kernels.triton_norm"}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_the_walk_sees_every_layer():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LAYERS)
