"""Models that other programs have fetched to this machine: the Hugging Face cache, and ComfyUI's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mgcli.app.models import MODELS, Model, expanded, problems_in

COMFYUI = "COMFYUI_MODELS"  # the environment variable


def hub_cache() -> Path:
    """Where huggingface_hub keeps its files, by the variables it knows."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return expanded(named or f"{home}/hub")


def snapshots(model: Model) -> list[Path]:
    """What the cache has of a model's repository, the newest first."""
    if not model.on_hub:
        return []
    folder = hub_cache() / f"models--{model.source.replace('/', '--')}" / "snapshots"
    return sorted(folder.glob("*/"), key=lambda path: path.stat().st_mtime, reverse=True)


def in_hub_cache(model: Model) -> Path | None:
    """The newest snapshot that has all of it."""
    return next((folder for folder in snapshots(model) if not model.also and not problems_in(model, folder)), None)


def comfyui_models(chosen: Path | None = None) -> Path | None:
    """ComfyUI or its models folder: the one named, else $COMFYUI_MODELS."""
    named = chosen or os.environ.get(COMFYUI)
    return expanded(named) if named else None


def report(comfyui: Path | None = None) -> dict[str, Any]:
    """What is there of the models known by name, for `mg doctor`."""
    folder = comfyui_models(comfyui)
    cached = {name: _newest(model) for name, model in MODELS.items() if snapshots(model) and not model.also}
    return {
        "hub_cache": {"folder": str(hub_cache()), "models": cached},
        "comfyui": folder and {"folder": str(folder), **_parts_in(folder)},
    }


def _newest(model: Model) -> dict[str, Any]:
    folder = in_hub_cache(model) or snapshots(model)[0]
    found = problems_in(model, folder)
    return {"folder": str(folder), "complete": not found, "problems": found}


def _parts_in(folder: Path) -> dict[str, Any]:
    """Files by what they are, the one that would be taken first; and those that could not be read."""
    if not folder.is_dir():
        return {"files": {}, "unread": [f"no such folder: {folder}"]}
    from wan22.places import recognised

    files, unread = recognised(folder)
    return {"files": {what: [str(path) for path in paths] for what, paths in files.items()}, "unread": unread}
