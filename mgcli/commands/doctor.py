"""`mg doctor`: what is here, what works, what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from mgcli.app.console import console
from mgcli.app.flag import flag
from mgcli.app.models import MODELS, WHERE_MODELS_LIVE, download_command, models_dir, problems
from mgcli.app.next_step import with_any
from mgcli.app.options import ModelsDir

EXAMPLES = (
    ("mg doctor", "what is here, what works, what is missing"),
    ("mg doctor --dir /data/models", "with models in another folder"),
    ("mg doctor --comfyui ~/ComfyUI", "and which of ComfyUI's files are models known here"),
)

Comfyui = Annotated[
    Path | None, flag("ComfyUI's folder, or its models folder.", default="$COMFYUI_MODELS", metavar="FOLDER")
]


def doctor(dir: ModelsDir = None, comfyui: Comfyui = None) -> None:
    """Say what this machine has, what works on it, and which models are here."""
    from mgcli.app import elsewhere, machine
    from wan.modules.attention import available_backends

    root, devices = models_dir(dir), machine.devices()
    report: dict[str, Any] = {
        "host": machine.host(),
        "versions": machine.versions(),
        "devices": devices,
        "attention": available_backends(),
        "ffmpeg": machine.ffmpeg(),
        "disk": machine.disk(root),
        "models": {name: _model(name, root, dir) for name in MODELS},
        "elsewhere": elsewhere.report(comfyui),
        "can_run": machine.can_run(devices),
    }
    console.result(report, "\n".join(_lines(report)))
    console.next(with_any([name for name, model in report["models"].items() if model["complete"]]))


def _model(name: str, root: Path, dir: Path | None) -> dict[str, Any]:
    model = MODELS[name]
    found = problems(model, root)
    remedy = f"{download_command(name)}{f' --dir {dir}' if dir else ''}" if found else None
    return {"folder": str(root / model.folder), "complete": not found, "problems": found, "remedy": remedy}


def _lines(report: dict[str, Any]) -> list[str]:
    host, ffmpeg = report["host"], report["ffmpeg"]
    sections = {
        "machine": [
            f"{host['system']}, {host['cpus']} CPUs, {host['memory_gib']:.1f} GiB memory",
            *_device_lines(report),
        ],
        "versions": [", ".join(f"{name} {v}" for name, v in report["versions"].items() if v)],
        "attention": [f"{name}: {answer}" for name, answer in report["attention"].items()],
        "ffmpeg": [ffmpeg["problem"] or f"{ffmpeg['version']} ({ffmpeg['path']})"],
        "models": [f"looked for in {report['disk']['folder']} ({WHERE_MODELS_LIVE})", *_model_lines(report)],
        "disk": [f"{report['disk']['free_gib']:.1f} GiB free there"],
        "elsewhere": _elsewhere_lines(report["elsewhere"]),
        "can run": _can_run_lines(report),
    }
    return [
        f"{title if i == 0 else '':<10} {line}" for title, lines in sections.items() for i, line in enumerate(lines)
    ]


def _device_lines(report: dict[str, Any]) -> list[str]:
    gpus = [f"{d['name']}, {d['memory_gib']:.1f} GiB ({d['free_gib']:.1f} free)" for d in report["devices"]]
    return gpus or ["no GPU: the released models need one; small models and the tests run on the CPU"]


def _model_lines(report: dict[str, Any]) -> list[str]:
    return [f"{name}: {_state(model)}" for name, model in report["models"].items()]


def _state(model: dict[str, Any]) -> str:
    if model["complete"]:
        return "complete"
    return f"{_first(model['problems'])}; {model['remedy']}"


def _elsewhere_lines(report: dict[str, Any]) -> list[str]:
    cache, comfyui = report["hub_cache"], report["comfyui"]
    models = {name: f"{_first(model['problems'])} ({model['folder']})" for name, model in cache["models"].items()}
    cached = [f"{name}: {said}" for name, said in models.items()] or [f"nothing in {cache['folder']}"]
    return [f"Hugging Face cache: {line}" for line in cached] + _comfyui_lines(comfyui)


def _comfyui_lines(comfyui: dict[str, Any] | None) -> list[str]:
    if comfyui is None:
        return ["ComfyUI: name its folder with --comfyui or $COMFYUI_MODELS"]
    folder = Path(comfyui["folder"])
    shown = {what: [str(Path(path).relative_to(folder)) for path in paths] for what, paths in comfyui["files"].items()}
    lines = [f"{what}: {', '.join(paths)}" for what, paths in shown.items()] or [f"nothing in {folder}"]
    return [f"ComfyUI: {line}" for line in [*lines, *(f"not read: {reason}" for reason in comfyui["unread"])]]


def _first(problems: list[str]) -> str:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return problems[0] + more if problems else "complete"


def _can_run_lines(report: dict[str, Any]) -> list[str]:
    refusal = "more than a GPU of this machine has" if report["devices"] else "and no GPU here"
    rows = report["can_run"]
    return [
        f"{n['what']}: {n['weights_gib']:.1f} GiB of weights in bf16, {'fits' if n['fits'] else refusal}" for n in rows
    ]
