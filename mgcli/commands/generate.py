"""`mg generate`: videos from images and actions, a block at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from mgcli.app import options as opt
from mgcli.app.console import console
from mgcli.app.flag import flag
from mgcli.app.next_step import after_world
from mgcli.app.outputs import Outputs
from mgcli.game.batch import length_note, place_worlds, plan_worlds
from mgcli.game.request import GenerateRequest, game_request
from wan.latents import video_frames

Length = Annotated[
    int | None,
    flag(
        "The video's length in latent frames, whole blocks of 3: 150 are 597 frames of video (`mg frames` has the map).",
        default="as long as the actions; 150 if they are random",
        panel=opt.WORLD,
        metavar="N",
    ),
]
Batch = Annotated[
    int | None,
    flag(
        "How many worlds at once, each with the next seed.",
        default="as many as there are --image or --actions, which may be given several times",
        panel=opt.WORLD,
        metavar="N",
    ),
]
Output = Annotated[
    Path | None,
    flag(
        "The video. Beside it go NAME_icon.mp4, with keys drawn on it, and NAME.json, which says how it was made.",
        "--output",
        "-o",
        default=str(GenerateRequest.output),
        panel=opt.FILES,
        metavar="FILE",
    ),
]
Profile = Annotated[
    bool,
    flag("Say where the time went, and write a trace that chrome://tracing shows.", "--enable_profile", panel=opt.MACHINE),
]  # fmt: skip
EXAMPLES = (
    ("mg generate", "the mini world, a small model of a maze: nothing to download"),
    ('mg generate --actions "W*36 L*24 W*36" -o outputs/walk.mp4', "forward, a turn to the right, forward"),
    ("mg generate --checkpoint_path universal --image cat.png", "the released model; first: mg download universal"),
    ("mg generate --image a.png --image b.png --actions walk.txt", "two worlds at once, with actions from a file"),
)


def generate(
    image: opt.Image = None,
    actions: opt.Actions = None,
    num_output_frames: Length = None,
    output: Output = None,
    output_folder: opt.OutputFolder = None,
    overwrite: opt.Overwrite = False,
    seed: opt.Seed = None,
    action_seed: opt.ActionSeed = None,
    batch: Batch = None,
    mode: opt.Mode = None,
    checkpoint_path: opt.CheckpointPath = None,
    pretrained_model_path: opt.PretrainedModelPath = None,
    tiny_vae: opt.TinyVae = None,
    config_path: opt.ConfigPath = None,
    height: opt.Height = None,
    width: opt.Width = None,
    local_attn_size: opt.LocalAttnSize = None,
    fps: opt.Fps = None,
    save_latents: opt.SaveLatents = False,
    enable_profile: Profile = False,
    device: opt.Device = None,
    dtype: opt.Dtype = None,
    reference: opt.Reference = None,
    attention: opt.Attention = None,
    compile: opt.Compile = None,
    graphs: opt.Graphs = None,
    fp8: opt.Fp8 = None,
) -> None:
    """Make a video from a picture and the keys that are held in it.

    Without --checkpoint_path the mini world plays, a small model of a maze that comes with the package. The video is written
    block by block: whatever stops the command, what is there plays.
    """
    request, plans = plan_worlds(game_request(GenerateRequest, locals()))
    for plan in plans:
        if request.actions and (note := length_note(plan.script, video_frames(request.num_output_frames or 0))):
            console.say(note)
    with Outputs(request, request.overwrite) as outputs:
        request, plans = place_worlds(outputs, request, plans)
        from mgcli.game.generation import generate_worlds

        facts = generate_worlds(request, plans)
    console.result(facts, "\n".join(_lines(facts)))
    console.next(after_world(facts["outputs"][0]["video"]))


def _lines(facts: dict[str, Any]) -> list[str]:
    made = f"{facts['frames']} frames in {facts['seconds']:.1f} s, {facts['frames_per_second']:.1f} frames/s"
    videos = [f"{files['video']} (with keys: {files['icon']})" for files in facts["outputs"]]
    return [*_profile_lines(facts), *videos, f"{made}, {facts['peak_memory_gib']:.1f} GiB at most"]


def _profile_lines(facts: dict[str, Any]) -> list[str]:
    if "profile" not in facts:
        return []
    parts, first_last = facts["profile"], "-".join(map(str, facts["profiled_blocks"]))
    whole = sum(parts.get(name, 0.0) for name in ("denoise", "clean pass", "decode"))
    rows = [f"{name:<16}{seconds * 1000:10.1f} ms {seconds / whole:6.1%}" for name, seconds in parts.items()]
    return [
        f"blocks {first_last}: cache is part of the attentions, which are part of the phases",
        *rows,
        facts["trace"],
    ]
