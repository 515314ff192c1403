"""One word for one thing: no two public classes of the packages share a name."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("wan", "wan22", "wanmini", "mgcli")
# a layer of one network is named as in the others, and a fast twin as its plain one
LAYERS = {"AttentionBlock", "RMSNorm", "ResidualBlock", "SelfAttention", "Upsample"}
# rooms apart: a published model's home and a page's switchboard; a block of frames; what is encoded, and what encodes;
# a world, and the one that Python holds in its hand
APART = {"Attention", "Block", "Encoder", "Hub", "Sample", "World"}


def public_classes() -> dict[str, list[str]]:
    """Where each class is, those inside functions and classes left out."""
    where = defaultdict(list)
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(str(path.relative_to(ROOT)))
    return where


CLASSES = public_classes()


def test_no_two_classes_share_a_name():
    twice = {name: files for name, files in CLASSES.items() if len(files) > 1}
    assert {name: files for name, files in twice.items() if name not in LAYERS | APART} == {}
    assert twice.keys() >= LAYERS | APART, "one that is mended leaves the list"
