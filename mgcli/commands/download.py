"""`mg download`: the files of a released model, only those that are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mgcli.app.console import console
from mgcli.app.models import MODELS, find_model, models_dir
from mgcli.app.options import ModelsDir


def download(
    model: Annotated[str, typer.Argument(help=f"One of {', '.join(MODELS)}.")],
    dir: ModelsDir = None,
    dry_run: Annotated[bool, typer.Option("--dry_run", help="List files and sizes, fetch nothing.")] = False,
) -> None:
    """Fetch what a released model needs: sizes first, continued where an earlier try stopped, checked at the end."""
    from mgcli.app import downloads

    wanted = find_model(model)
    folder = models_dir(dir) / wanted.folder
    source = downloads.source_of(wanted)
    files = source.files()
    missing = downloads.missing(files, folder)
    to_fetch = sum(f.size for f in missing)
    console.say(f"{len(files)} files, {downloads.size_text(to_fetch)} to fetch into {folder}")
    if not dry_run:
        downloads.require_space(folder, to_fetch)
        _fetch(source, missing, folder)
        downloads.verify(files, folder)
    console.result(_report(model, folder, files, missing, dry_run), "\n".join(_lines(folder, files, missing, dry_run)))


def _fetch(source: Any, files: list[Any], folder: Path) -> None:
    from huggingface_hub.utils import disable_progress_bars

    from mgcli.app.downloads import size_text

    if not console.interactive:
        disable_progress_bars()
    for index, file in enumerate(files, start=1):
        console.say(f"{index} of {len(files)}: {file.path}, {size_text(file.size)}")
        source.fetch(file, folder)


def _report(model: str, folder: Path, files: list[Any], missing: list[Any], dry_run: bool) -> dict[str, Any]:
    rows = [{"path": f.path, "size": f.size, "fetched": not dry_run and f in missing} for f in files]
    return {"model": model, "folder": str(folder), "dry_run": dry_run, "files": rows}


def _lines(folder: Path, files: list[Any], missing: list[Any], dry_run: bool) -> list[str]:
    from mgcli.app.downloads import size_text

    if not dry_run:
        return [f"complete: {folder}"]
    return [f"{size_text(f.size):>10}  {f.path}{'' if f in missing else '  (here already)'}" for f in files]
