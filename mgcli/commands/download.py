"""`mg download`: the files of a released model, only those that are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mgcli.app.console import console
from mgcli.app.flag import completed, flag, spelled
from mgcli.app.models import GAME_MODELS, find_model, models_dir, own_first
from mgcli.app.next_step import with_model
from mgcli.app.options import ModelsDir

EXAMPLES = (
    ("mg download universal --dry_run", "which files, and how large"),
    ("mg download universal", "fetch them; the same command goes on where it was interrupted"),
    ("mg download taew2_1", "the small decoder for --tiny_vae"),
)
DryRun = Annotated[bool, flag("List files and sizes, fetch nothing.", "--dry_run")]


def named_model(own: tuple[str, ...]) -> Any:
    """The argument: every model, those of this program in front."""
    known = own_first(own)
    return typer.Argument(
        help=f"One of {', '.join(known)}.", autocompletion=completed(known), callback=spelled(known), show_default=False
    )


def download(model: Annotated[str, named_model(GAME_MODELS)], dir: ModelsDir = None, dry_run: DryRun = False) -> None:
    """Fetch the files that a released model needs.

    Says their sizes first, goes on where an earlier try stopped, and checks them at the end.
    """
    download_model(model, dir, dry_run)


def download_model(model: str, dir: Path | None, dry_run: bool) -> None:
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
    console.next("the same without --dry_run fetches them" if dry_run else with_model(model, folder, dir))


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
