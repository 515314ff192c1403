"""Option types that several commands share, so that a flag means and says the same thing everywhere.

A command writes `seed: Seed = 0`; names, types and help live here. Flags that one command has alone stay in its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; everything else goes to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the result only: no progress, no notes.")]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show the traceback of an error (also MG_TRACEBACK=1).")]

ModelsDir = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder that holds the models. Default: $MG_MODELS, else ~/.cache/mgcli/models."),
]

# What a world of `mg` is made from: mg generate, mg stream, mg play. None is "not given": a preset may say it then.

Image = Annotated[
    list[Path] | None, typer.Option(help="Start image, cropped to the shape of the video. Default: a bundled one.")
]
Actions = Annotated[
    list[str] | None,
    typer.Option(
        help='"W*24 WL*12 L*12": keys*frames; or a .txt, .json or .csv file; or "random", the official random walk. '
        "universal: WASD move, IJKL turn the camera; W(0.02,-0.05)*12 turns it by (pitch, yaw) a frame, up and right "
        "being positive; the models were trained on turns of 0.1. gta_drive: WASD. templerun: WASD, Z and C turn. Q: nothing."
    ),
]
Seed = Annotated[int | None, typer.Option(help="Of the noise. The same seeds give the same latents, byte for byte.")]
ActionSeed = Annotated[int | None, typer.Option(help="Of random actions.")]
Mode = Annotated[
    str | None, typer.Option(help="universal, gta_drive or templerun. Default: what the weights were trained for.")
]
CheckpointPath = Annotated[
    str | None,
    typer.Option(help="Weights: a file, a folder or a name known to mg download. Default: the embedded mini world."),
]
PretrainedModelPath = Annotated[
    Path | None, typer.Option(help="Folder with the VAE and CLIP of the release. Default: found beside the weights.")
]
TinyVae = Annotated[
    Path | None,
    typer.Option(help="Decode with this taew2_1 file instead of the VAE: much faster, not the same pictures."),
]
ConfigPath = Annotated[
    str | None,
    typer.Option(help="Sampling preset, such as configs/inference_yaml/inference_universal.yaml. Flags win."),
]
Height = Annotated[int | None, typer.Option(help="Of the video, a multiple of 16. Released models: 352.")]
Width = Annotated[int | None, typer.Option(help="Of the video, a multiple of 16. Released models: 640.")]
LocalAttnSize = Annotated[
    int | None, typer.Option(help="Latent frames that attention sees. Default: what the model was trained with.")
]
Reference = Annotated[
    bool | None, typer.Option("--reference", help="Run the plain model, the measure of the fast one: the same, slower.")
]
Attention = Annotated[str | None, typer.Option(help="auto (default), cudnn, flash or sdpa.")]
Compile = Annotated[
    bool | None,
    typer.Option("--compile", help="torch.compile of the plain model's layers; slower than the default on an H100."),
]
Graphs = Annotated[
    bool | None, typer.Option("--graphs/--no_graphs", help="CUDA graphs around the fast model. Default: on a CUDA GPU.")
]
Fp8 = Annotated[
    bool | None,
    typer.Option(
        "--fp8",
        help="Lossy: the large products of the model in 8-bit floats: forwards 1.1x faster, 1 GB less memory; 36 dB from exact over 3 blocks. For GPUs of compute capability 8.9 or higher.",
    ),
]
Fps = Annotated[float | None, typer.Option(help="Of the file; the frames are the same. 25 is real time.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what is there. Default: write beside it, demo-2.mp4.")
]
SaveLatents = Annotated[bool, typer.Option("--save_latents", help="Keep the latents in a safetensors file too.")]
Device = Annotated[str | None, typer.Option(help="cuda, cpu, mps. Default: the GPU, if there is one.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Default: bfloat16, float32 on a CPU.")]
