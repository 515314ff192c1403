"""`mg doctor`: what is here, what works, what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mgcli.app.console import console
from mgcli.app.models import MODELS, WHERE_MODELS_LIVE, Model, models_dir, problems
from mgcli.app.next_step import with_any
from mgcli.app.options import ModelsDir

EXAMPLES = (
    ("mg doctor", "what is here, what works, what is missing"),
    ("mg doctor --dir /data/models", "with models in another folder"),
)


def doctor(dir: ModelsDir = None) -> None:
    """Say what this machine has, what works on it, and which models are here."""
    from mgcli.app import machine
    from wan.modules.attention import available_backends

    root, devices = models_dir(dir), machine.devices()
    report: dict[str, Any] = {
        "host": machine.host(),
        "versions": machine.versions(),
        "devices": devices,
        "attention": available_backends(),
        "ffmpeg": machine.ffmpeg(),
        "disk": machine.disk(root),
        "models": {name: _model(model, root) for name, model in MODELS.items()},
        "can_run": machine.can_run(devices),
    }
    console.result(report, "\n".join(_lines(report)))
    console.next(with_any([name for name, model in report["models"].items() if model["complete"]]))


def _model(model: Model, root: Path) -> dict[str, Any]:
    found = problems(model, root)
    return {"folder": str(root / model.folder), "complete": not found, "problems": found}


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
        "can run": _can_run_lines(report),
    }
    return [
        f"{title if i == 0 else '':<10} {line}" for title, lines in sections.items() for i, line in enumerate(lines)
    ]


def _device_lines(report: dict[str, Any]) -> list[str]:
    gpus = [f"{d['name']}, {d['memory_gib']:.1f} GiB ({d['free_gib']:.1f} free)" for d in report["devices"]]
    return gpus or ["no GPU: the released models need one; small models and the tests run on the CPU"]


def _model_lines(report: dict[str, Any]) -> list[str]:
    return [f"{name}: {_first(model['problems'])}" for name, model in report["models"].items()]


def _first(problems: list[str]) -> str:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return problems[0] + more if problems else "complete"


def _can_run_lines(report: dict[str, Any]) -> list[str]:
    refusal = "more than a GPU of this machine has" if report["devices"] else "and no GPU here"
    rows = report["can_run"]
    return [
        f"{n['what']}: {n['weights_gib']:.1f} GiB of weights in bf16, {'fits' if n['fits'] else refusal}" for n in rows
    ]
