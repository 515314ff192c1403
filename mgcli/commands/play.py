"""`mg play`: a world in the browser."""

from __future__ import annotations

import importlib.util
import os
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mgcli.app import options as opt
from mgcli.app.console import console
from mgcli.app.outputs import Outputs
from mgcli.game.request import game_request

NEEDED = ("starlette", "uvicorn", "websockets")
Output = Annotated[Path | None, typer.Option(help="Recordings are numbered after this: play_1.mp4, play_1.json, ...")]
Host = Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1, this machine alone.")]
Port = Annotated[int | None, typer.Option(help="Default: any that is free.")]
Open = Annotated[bool, typer.Option("--open", help="Open a browser too.")]


def play(
    image: opt.Image = None,
    output: Output = None,
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
    """Play a world in the browser: W/A/S/D and the mouse, or your thumbs.

    Prints a link that works once; another one follows each time a link has been used. On another machine, tunnel the
    port (ssh -L 8000:127.0.0.1:PORT) and open the link with localhost:8000. Ctrl-C ends the session.
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
