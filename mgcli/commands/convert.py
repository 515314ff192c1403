"""`mg convert` and `wan22 convert`: a model as 8-bit floats in a file, so that --fp8 need not be made again at every start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mgcli.app.console import console
from mgcli.app.flag import flag
from mgcli.app.options import DEVICES

EXAMPLES = (
    ("PROGRAM convert universal -o universal_fp8.safetensors", "a Matrix-Game model, half as large"),
    ("PROGRAM convert Wan2.2-T2V-A14B/low_noise_model -o low_fp8.safetensors", "an expert: 16.6 GB instead of 57"),
)


def convert(
    model: Annotated[
        str,
        typer.Argument(
            help="A file or folder: one expert of Wan2.2 or a Matrix-Game model, or the name of a downloaded one.",
            metavar="MODEL",
            show_default=False,
        ),
    ],
    output: Annotated[Path, flag("The file to write.", "--output", "-o", metavar="FILE")],
    device: Annotated[
        str, flag("Where it is computed.", "--device", default="auto: the GPU, if there is one", choices=DEVICES)
    ] = "auto",
    overwrite: Annotated[bool, flag("Replace the file if it is there.", "--overwrite")] = False,
) -> None:
    """Write a model with its large products in 8-bit floats, as --fp8 makes them, to a file that opens at once."""
    from mgcli.app.converting import convert_file

    data = convert_file(model, output, device, overwrite)
    console.result(data, f"{data['file']}: {data['bytes'] / 1e9:.2f} GB, in {data['seconds']:.1f} s")
