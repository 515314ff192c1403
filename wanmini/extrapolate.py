"""Weights beyond those of a run, on the line from another: `python -m wanmini.extrapolate A B --out OUT [--by 1]`.

Two runs from the same start that differ in one setting end at weights that differ by what the setting does. B + (B - A) does
it once more, without training: of two decoders, with edges weighted 1 and 2, it draws edges as if weighted still more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import Tensor

from wan.modules.vae import WanVAE
from wanmini import sizes
from wanmini.train_decoder import config_of
from wanmini.training import restore, store


def beyond(a: dict[str, Tensor], b: dict[str, Tensor], by: float) -> dict[str, Tensor]:
    """What is the same in both stays the same."""
    return {name: value + by * (value - a[name]) for name, value in b.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=Path, help="folder that train_decoder left")
    parser.add_argument("b", type=Path, help="the same, of the run to go on from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--by", type=float, default=1.0, help="times the difference")
    args = parser.parse_args()
    first, second = WanVAE(sizes.VAE), WanVAE(sizes.VAE)
    restore(first, args.a / "vae")
    steps = restore(second, args.b / "vae")
    about = {
        "steps": str(steps),
        "beyond": f"{args.by:g} of the difference between {args.a.name} and {args.b.name}, added to the latter",
    }
    store(args.out / "vae", beyond(first.state_dict(), second.state_dict(), args.by), config_of(args.b), about)


if __name__ == "__main__":
    main()
