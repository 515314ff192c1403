"""Which version runs, read from what is installed: nothing is imported to ask it."""

from __future__ import annotations

import platform

import typer

from mgcli.app.console import console


def show_version(context: typer.Context, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    found = {"mgcli": package_version("mgcli"), "torch": package_version("torch"), "python": platform.python_version()}
    ours, torch = found["mgcli"] or "(not installed, run from a folder)", found["torch"] or "missing"
    console.result(found, f"{context.info_name} {ours}, torch {torch}, Python {found['python']}")
    raise typer.Exit


def package_version(package: str) -> str | None:
    import importlib.metadata  # a tenth of the time that help takes

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
