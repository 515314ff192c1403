"""`mg stream`: a world made while it is played."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from mgcli.app import options as opt
from mgcli.app.console import console
from mgcli.app.flag import flag
from mgcli.app.next_step import after_session
from mgcli.app.outputs import Outputs
from mgcli.app.recording import recorded
from mgcli.game.players import Player, RandomPlayer, ScriptPlayer, Take
from mgcli.game.preview_kind import KINDS, preview_kind
from mgcli.game.request import RANDOM, StreamRequest, game_request
from wan.game.modes import MODES
from wan.game.scripts import load_script

Output = Annotated[
    Path | None,
    flag(
        "The video. While it grows it is NAME_current.mp4; NAME_icon.mp4 has the keys drawn on it, NAME.json is the session.",
        "--output",
        "-o",
        default=str(StreamRequest.output),
        panel=opt.FILES,
        metavar="FILE",
    ),
]
Length = Annotated[
    int | None,
    flag(
        "How many latent frames at most, whole blocks of 3; 0 is without end. Memory does not grow, but the released models "
        "were trained on clips of 15: long worlds drift in colour and detail, and what has been out of view for longer than "
        "the model looks back is made up again.",
        default="360",
        panel=opt.WORLD,
        metavar="N",
    ),
]
Prompt = Annotated[
    bool,
    flag("Ask for camera and movement block by block, also at a terminal.", "--prompt", "-p", panel=opt.WORLD),
]
Script = Annotated[
    str | None,
    flag(
        "Play this instead of asking: a session (its NAME.json makes the same world again), actions as mg generate takes "
        "them, or random.",
        default="you play",
        panel=opt.WORLD,
        metavar="FILE|TEXT",
    ),
]
SaveState = Annotated[
    Path | None,
    flag("Save the world here at the end, so that it can go on.", default="no", panel=opt.FILES, metavar="FILE"),
]
LoadState = Annotated[
    Path | None,
    flag(
        "Go on with a world that was saved, exactly where it was; the video holds what is new.",
        default="a new world",
        panel=opt.FILES,
        metavar="FILE",
    ),
]
PreviewKind = Annotated[
    str | None,
    flag(
        "How the world is shown above the keys in this terminal: blocks, in half characters with colours; kitty, in that "
        "terminal's real pixels (also ghostty's); off, not at all.",
        default="auto: what the terminal says it can",
        panel=opt.MACHINE,
        choices=KINDS,
    ),
]
EXAMPLES = (
    ("mg stream", "play the mini world with the keys of this terminal"),
    ("mg stream --checkpoint_path universal --image cat.png", "the released model; first: mg download universal"),
    ("mg stream --script outputs/stream.json -o outputs/again.mp4", "a session again, to the same video"),
    ('mg stream --script "W*45 L*24" --save_state here.safetensors', "keys from a script, and the world kept ..."),
    ("mg stream --load_state here.safetensors", "... to go on in it"),
)
NOTHING = "nothing was asked for, so nothing was generated"


def stream(
    image: opt.Image = None,
    script: Script = None,
    prompt: Prompt = False,
    output: Output = None,
    output_folder: opt.OutputFolder = None,
    overwrite: opt.Overwrite = False,
    max_num_output_frames: Length = None,
    save_state: SaveState = None,
    load_state: LoadState = None,
    seed: opt.Seed = None,
    action_seed: opt.ActionSeed = None,
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
    device: opt.Device = None,
    dtype: opt.Dtype = None,
    reference: opt.Reference = None,
    attention: opt.Attention = None,
    compile: opt.Compile = None,
    graphs: opt.Graphs = None,
    fp8: opt.Fp8 = None,
    preview: PreviewKind = None,
) -> None:
    """Play a world in this terminal while it is made.

    Hold keys (a terminal repeats only the last one; keys held together stay held). Space pauses, r takes another seed, o
    another picture; n, q or Ctrl-C end. Without a terminal, actions are asked for line by line.
    """
    flags = locals()
    shown = flags.pop("preview")
    request = game_request(StreamRequest, flags)
    with Outputs(request, request.overwrite) as outputs:
        request = place_session(outputs, request)
        player = choose_player(request, shown)
        take = first_take(request, player)
        nothing: dict[str, Any] = {"takes": [], "mode": request.mode, "frames": 0, "frames_per_second": 0.0}
        facts = played(request, player, take, outputs) if take else nothing
    console.result(facts, "\n".join(_lines(facts)))
    if facts["takes"]:
        console.next(after_session(facts["takes"][-1]["video"]))


def played(request: StreamRequest, player: Player, take: Take, outputs: Outputs) -> dict[str, Any]:
    from mgcli.game.session import StreamSession
    from mgcli.game.worlds import explained_memory, open_models

    with explained_memory(request):
        session = StreamSession(request, open_models(request), player, outputs)
        session.run(take)
    return session.facts()


def place_session(outputs: Outputs, request: StreamRequest) -> StreamRequest:
    chosen = request.output != StreamRequest.output
    output = outputs.place("--output", request.output, recorded, chosen=chosen)
    state = outputs.place("--save_state", request.save_state) if request.save_state else None
    return replace(request, output=output, save_state=state)


def choose_player(request: StreamRequest, preview: str | None) -> Player:
    mode = MODES[request.mode]
    live = not (request.script or request.prompt) and sys.stdin.isatty() and console.interactive
    if live:
        from mgcli.game.live import LivePlayer

        return LivePlayer(mode, preview_kind(preview, console.colours, console.json))
    if preview_kind(preview, None) != "off":
        raise ValueError(
            f"--preview {preview} shows a world that is played with the keys of a terminal: leave it out here"
        )
    if request.script == RANDOM:
        return RandomPlayer(mode, request.action_seed)
    if request.script:
        return ScriptPlayer(load_script(request.script, mode))
    from mgcli.game.dialogue import DialoguePlayer

    return DialoguePlayer(mode)


def first_take(request: StreamRequest, player: Player) -> Take | None:
    if request.image or request.load_state:
        return Take(1, (*request.image, request.default_image)[0], request.seed)
    image = player.start_image(request.default_image)
    return Take(1, image, request.seed) if image else None


def _lines(facts: dict[str, Any]) -> list[str]:
    return [
        f"{take['video']} (with keys: {take['icon']}; replay: mg stream --script {take['record']}), {take['frames']} frames"
        for take in facts["takes"]
    ] or [NOTHING]
