"""Models that other programs have fetched to this machine: the Hugging Face cache, and ComfyUI's folder."""

from __future__ import annotations

import os
from pathlib import Path

from mgcli.app.models import Model, expanded, problems_in

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
