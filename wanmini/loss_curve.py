"""The journals of training runs as one picture. matplotlib is imported here only: it is no dependency of the package."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curve(journals: list[Path], picture: Path, names: tuple[str, ...]) -> None:
    """Each of `names` over steps, one panel a name; several journals continue one another."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
    figure, panels = plt.subplots(1, len(names), figsize=(5 * len(names), 3.2), squeeze=False, layout="constrained")
    for panel, name in zip(panels[0], names):
        points = [(row["step"], row[name]) for row in rows if name in row]
        panel.plot(*zip(*points), lw=1) if points else None
        panel.set(xlabel="step", title=name)
        panel.grid(alpha=0.3)
    figure.savefig(picture, dpi=100)
    plt.close(figure)
