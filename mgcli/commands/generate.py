"""`mg generate`: videos from images and actions, a block at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mgcli.app import options as opt
from mgcli.app.console import console
from mgcli.app.outputs import Outputs
from mgcli.game.batch import length_note, place_worlds, plan_worlds
from mgcli.game.request import GenerateRequest, game_request
from wan.latents import video_frames

Length = Annotated[
    int | None,
    typer.Option(help="Latent frames, whole blocks of 3: 150 are 597 video frames (see mg frames). Default: as long as the actions, 150 if they are random."),
]  # fmt: skip
Batch = Annotated[
    int | None,
    typer.Option(
        help="How many worlds at once; several --image or --actions make as many by themselves. Seeds count up."
    ),
]
Output = Annotated[Path | None, typer.Option(help="The video; a twin with keys drawn on it and a JSON go beside it.")]
Profile = Annotated[bool, typer.Option("--enable_profile", help="Write a Chrome trace and say where the time went.")]


def generate(
    image: opt.Image = None,
    actions: opt.Actions = None,
    num_output_frames: Length = None,
    output: Output = None,
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
    """Generate a video from an image and an action script; without a checkpoint, from the embedded mini world.

    What was finished is playable at any moment, whatever stops the command.
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
