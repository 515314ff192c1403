"""Option types that several commands share, so that a flag means and says the same thing everywhere.

A command writes `seed: Seed = 0`; names, types and help live here. Flags that one command has alone stay in its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; everything else goes to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the result only: no progress, no notes.")]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show the traceback of an error (also MG_TRACEBACK=1).")]

ModelsDir = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder that holds the models. Default: $MG_MODELS, else ~/.cache/mgcli/models."),
]
