"""`mg play`: a world in the browser."""

from __future__ import annotations

import importlib.util
import os
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from mgcli.app import options as opt
from mgcli.app.console import console
from mgcli.app.flag import flag
from mgcli.app.outputs import Outputs
from mgcli.game.request import game_request

PAGE = "Page"
NEEDED = ("starlette", "uvicorn", "websockets")
Output = Annotated[
    Path | None,
    flag(
        "What recordings are named after: play_1.mp4, play_1.json, play_2.mp4, ...",
        "--output",
        "-o",
        default="outputs/play.mp4",
        panel=opt.FILES,
        metavar="FILE",
    ),
]
Host = Annotated[
    str | None,
    flag(
        "The address to listen on; 0.0.0.0 lets other machines in.",
        default="127.0.0.1, this machine alone",
        panel=PAGE,
        metavar="ADDRESS",
    ),
]
Port = Annotated[int | None, flag("The port to listen on.", default="any that is free", panel=PAGE, metavar="N")]
Open = Annotated[bool, flag("Open a browser too.", "--open", panel=PAGE)]
EXAMPLES = (
    ("mg play --open", "the mini world, in a browser that opens by itself"),
    ("mg play --checkpoint_path universal --image cat.png", "the released model; first: mg download universal"),
    ("mg play --host 0.0.0.0 --port 8000", "also for a phone in the same network"),
)


def play(
    image: opt.Image = None,
    output: Output = None,
    output_folder: opt.OutputFolder = None,
    host: Host = None,
    port: Port = None,
    open_: Open = False,
    seed: opt.Seed = None,
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
) -> None:
    """Play a world in the browser, with W/A/S/D and the mouse, or with your thumbs.

    Prints a link; open it. It works once, and another one follows each time. To play on a GPU elsewhere, bring its port here
    (ssh -L 8000:127.0.0.1:PORT gpu-machine) and open the link with localhost:8000 in it. Ctrl-C ends the session.
    """
    flags = locals()
    open_browser = flags.pop("open_")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ValueError(f"mg play needs {', '.join(missing)}: pip install {' '.join(missing)}")
    # threads of torch that spin while they wait starve the browser beside them, and then each other
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from mgcli.game.play.request import PlayRequest

    request = game_request(PlayRequest, flags)
    # nothing is written there itself: recordings take numbers that are free
    with Outputs(request, overwrite=True) as outputs:
        base = outputs.place("--output", request.output, chosen=request.output != PlayRequest.output)
        request = replace(request, output=base)
        from mgcli.game.play.server import is_open_to_others, listen, serve

        listener = listen(request.host, request.port)
        if is_open_to_others(listener):
            console.warn(
                f"listening on {request.host}: whoever reaches this machine and has a link can play, unencrypted"
            )
        session = serve(request, listener, Announcer(open_browser))
    for cut in session.tape.finished:
        console.say(f"{cut.files['video']}, {cut.frames} frames; again: {cut.replay}")
    if session.tape.finished:
        console.next(f"open {session.tape.finished[-1].files['video']}")


class Announcer:
    """Tells the first link as the result of the command and opens it if wanted; later ones are notes."""

    def __init__(self, open_browser: bool):
        self._open, self._told = open_browser, False

    def __call__(self, link: str) -> None:
        if self._told:
            console.say(f"opened; for another browser: {link}")
            return
        self._told = True
        console.result({"url": link}, link)
        if self._open:
            webbrowser.open(link)
