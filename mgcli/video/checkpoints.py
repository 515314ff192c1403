"""Which folder a run's checkpoint is in: one that was named, else the first of those that this machine has.

In this order: what `wan22 download` has fetched, the most exact first; a release in the Hugging Face cache; ComfyUI's files.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mgcli.app import elsewhere
from mgcli.app.models import MODELS, VIDEO_MODELS, models_dir, problems
from wan22.config import TASKS


def checkpoint_here(task: str) -> Path | None:
    models = [MODELS[name] for name in VIDEO_MODELS if name.startswith(task)]
    for model in models:
        if not problems(model, models_dir()):
            return models_dir() / model.folder
    for model in models:
        if cached := elsewhere.in_hub_cache(model):
            return cached
    comfyui = elsewhere.comfyui_models()
    return comfyui if comfyui and _both_experts(comfyui, task, _files_now(comfyui)) else None


def _files_now(folder: Path) -> tuple[tuple[Path, int], ...]:
    from wan.files.single_files import weights_under

    return tuple((path, path.stat().st_mtime_ns) for path in weights_under(folder))


@lru_cache(maxsize=8)
def _both_experts(folder: Path, task: str, _files: tuple[tuple[Path, int], ...]) -> bool:
    """Asked several times in a run, and every file there must be opened to answer: once for the same files."""
    from wan22.places import has_experts

    return has_experts(folder, TASKS[task])


def none_here() -> str:
    """What to add where that was in vain."""
    comfyui = elsewhere.comfyui_models()
    return f" (and ${elsewhere.COMFYUI}, {comfyui}, has not both of its experts)" if comfyui else ""


def named_checkpoint(named: Path, task: str) -> Path:
    """A folder, or the name of a model that `wan22 download` has fetched."""
    name = str(named)
    if named.exists():
        return named
    if name not in VIDEO_MODELS:
        raise ValueError(f"no such folder: {named}; `wan22 download {task}` fetches the released model")
    found = problems(MODELS[name], models_dir())
    if found and (cached := elsewhere.in_hub_cache(MODELS[name])):
        return cached
    if found:
        raise ValueError(f"{name} is not whole in {models_dir()} ({found[0]}); `wan22 download {name}` fetches it")
    return models_dir() / MODELS[name].folder
