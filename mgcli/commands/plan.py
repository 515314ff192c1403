"""`wan22 plan`: the table of a run, made without weights."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table

from mgcli.app.console import console
from mgcli.app.next_step import program
from mgcli.video.estimate import for_this_machine, spoken
from mgcli.video.flags import ACCELERATIONS, IMAGE, MACHINE, OUTPUT, PROMPT, VIDEO, takes
from mgcli.video.request import wan22_request
from wan22.config import ResolvedRequest, rounding_note
from wan22.plan import Step, Totals, planned

EXAMPLES = (
    ('wan22 plan --size "832*480" --frame_num 49 --steps 20', "what a run would do and cost"),
    ('wan22 plan --size "832*480" --frame_num 49 --steps 20 --accel recommended', "the same, accelerated"),
    ('wan22 plan --size "832*480" --frame_num 49 --memory 12', "and how it fits on a card of 12 GiB"),
)


@takes(VIDEO, ACCELERATIONS, PROMPT, IMAGE, MACHINE, OUTPUT)
def plan(flags: dict[str, Any]) -> None:
    """Say what a run would do, step by step, and what it would cost. Needs no weights and makes nothing.

    Takes the flags of wan22 t2v and wan22 i2v; the plan is that of the released model. Seconds and GiB are those that wan22
    bench has measured here, or another card, and it says which.
    """
    request = wan22_request(flags, only_planned=True)
    video = planned(request)
    if note := rounding_note(video.request):
        console.say(note)
    costs = for_this_machine(request, video)
    data = {"steps": [as_json(step) for step in video.steps], "totals": asdict(video.totals), "estimate": costs}
    told: tuple[Any, ...] = (heading(video.request), table(video.steps), summary(video.totals), spoken(costs))
    if request.loras:
        from mgcli.video.loras import planned_loras

        data["loras"] = planned_loras(request)
    if request.memory is not None:
        from mgcli.video.fitting import as_data, as_table, fits

        rows = fits(request, video)
        data["memory"], told = as_data(rows), (*told, as_table(rows))
    console.result(data, Group(*told))
    console.next(f"{program('wan22')} {video.request.task[:3]} with the same flags makes it")


def as_json(step: Step) -> dict[str, Any]:
    return {**asdict(step), "forwards": step.forwards}


def heading(request: ResolvedRequest) -> str:
    width, height = request.width_height
    made = f"{request.task}: {request.frame_num} frames of {width}x{height}, {request.sample_steps} steps of {request.sample_solver}"
    return "; ".join([made, *given(request)])


def given(request: ResolvedRequest) -> list[str]:
    """What is given beside a first frame."""
    known = f"the first {request.overlap} are the last of {request.video}"
    ends = f"the last is {request.last_image}"
    return [text for text, there in ((known, request.video), (ends, request.last_image)) if there]


def table(steps: tuple[Step, ...]) -> Table:
    columns = ("step", "expert", "t", "sigma", "guidance", "branch", "latents", "tokens", "completion")
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, no_wrap=True, justify="left" if name in ("expert", "branch", "completion") else "right")
    for s in steps:
        guidance = "" if s.forwards == 1 and s.branch != "delta" else f"{s.guidance:g}"
        completion = s.completion or ""
        row = (
            s.index + 1,
            s.expert,
            f"{s.timestep:.0f}",
            f"{s.sigma:.4f}",
            guidance,
            s.branch,
            s.latent_frames,
            s.seq_len,
        )
        made.add_row(*map(str, row), completion)
    return made


def summary(totals: Totals) -> str:
    return (
        f"{totals.high} high-noise and {totals.low} low-noise steps, {totals.forwards} forwards of {totals.token_forwards:,} tokens in all;"
        f" {totals.relative_cost:.2f} of the exact run's arithmetic ({1 / totals.relative_cost:.2f}x less)"
    )
