"""What the minis show on a CPU, in float32: `python -m tests.gpu.cpu_reference` writes cpu_reference.json, in some minutes.

Made again when the minis' weights, their judges or the numerics of a default run change.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.gpu.measures import clips, worlds

FILE = Path(__file__).parent / "cpu_reference.json"


def main() -> None:
    found = {
        "made": f"python -m tests.gpu.cpu_reference, torch {torch.__version__}",
        "worlds": worlds(device="cpu"),
        "clips": clips(device="cpu"),
    }
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    print(FILE)


if __name__ == "__main__":
    main()
