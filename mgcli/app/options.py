"""Option types that several commands share, so that a flag means and says the same thing everywhere.

A command writes `seed: Seed = None`; names, types and help live here. Flags that one command has alone stay in its file.
None is "not given": a preset may say it then. So what happens without a flag is said in words, `default`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mgcli.app.flag import flag
from mgcli.app.models import GAME_MODELS, WHERE_MODELS_LIVE

WORLD, FILES, MODEL, MACHINE, EVERYWHERE = "World", "Files", "Model", "Machine", "Every command"
DEVICES = ("auto", "cuda", "cpu", "mps")
ATTENTIONS = ("auto", "cudnn", "flash", "sdpa")
DTYPES = ("auto", "float32", "bfloat16", "float16")

Json = Annotated[
    bool, flag("Print one JSON object on stdout; everything else goes to stderr.", "--json", panel=EVERYWHERE)
]
Quiet = Annotated[bool, flag("Print the result only: no progress, no notes.", "--quiet", panel=EVERYWHERE)]
Traceback = Annotated[
    bool,
    flag("Show where in the code an error came from; MG_TRACEBACK=1 does the same.", "--traceback", panel=EVERYWHERE),
]

ModelsDir = Annotated[
    Path | None, flag("The folder that holds all models.", "--dir", default=WHERE_MODELS_LIVE, metavar="FOLDER")
]

# What a world of `mg` is made from: mg generate, mg stream, mg play.

Image = Annotated[
    list[Path] | None,
    flag(
        "The picture that the world begins with, cropped to the shape of the video.",
        "--image",
        "--img_path",
        default="one that comes with the package",
        panel=WORLD,
        metavar="FILE",
    ),
]
Actions = Annotated[
    list[str] | None,
    flag(
        'Which keys are held for how many frames: "W*24 WL*12 L*12" is forward, forward while turning right, turning '
        'right. Or a .txt, .json or .csv file with actions, or "random", the official random walk. Keys of universal: W A '
        "S D walk, I K J L turn the camera up, down, left, right; of gta_drive: W A S D; of templerun: W A S D, and Z C "
        "turn. Q is no key. W(0.02,-0.05)*12 turns by 0.02 up and 0.05 left a frame; a camera key turns by 0.1, the "
        "only turn the models have seen.",
        "--actions",
        default="a short tour in the mini world, random with --checkpoint_path",
        panel=WORLD,
    ),
]
Seed = Annotated[
    int | None,
    flag(
        "Another number is another world from the same picture; the same one gives the same video again.",
        "--seed",
        "-s",
        default="0",
        panel=WORLD,
        metavar="N",
    ),
]
ActionSeed = Annotated[int | None, flag("The same for random actions.", default="0", panel=WORLD, metavar="N")]
Mode = Annotated[
    str | None,
    flag(
        "Which keys there are.",
        default="what the weights were trained for; universal without weights",
        panel=WORLD,
        choices=("universal", "gta_drive", "templerun"),
    ),
]
OutputFolder = Annotated[
    Path | None,
    flag(
        "The official scripts' way to say --output: a folder for the files, under their usual names.",
        default="outputs",
        panel=FILES,
        metavar="FOLDER",
    ),
]
Overwrite = Annotated[
    bool, flag("Replace files that are there. Without it, demo-2.mp4 is written beside demo.mp4.", "--overwrite", panel=FILES)
]  # fmt: skip
SaveLatents = Annotated[
    bool, flag("Also keep what the model made before decoding, as .safetensors.", "--save_latents", panel=FILES)
]
ConfigPath = Annotated[
    str | None,
    flag(
        "A YAML file with settings; a flag wins over it. configs/inference_yaml/inference_universal.yaml is one, official "
        "sampling files work as they are.",
        default="none",
        panel=FILES,
        metavar="FILE",
    ),
]
Fps = Annotated[
    float | None,
    flag("Frames a second of the file; the frames are the same.", default="25, real time", panel=FILES, metavar="N"),
]
CheckpointPath = Annotated[
    str | None,
    flag(
        f"The weights: {', '.join(GAME_MODELS)} (`mg download` fetches them), or a file or folder.",
        default="the mini world, a small model of a maze that comes with the package",
        panel=MODEL,
        choices=GAME_MODELS,
        metavar="NAME|PATH",
    ),
]
PretrainedModelPath = Annotated[
    Path | None,
    flag(
        "The folder with the release's VAE and CLIP, where that is not the one of the weights.",
        default="near the weights",
        panel=MODEL,
        metavar="FOLDER",
    ),
]
TinyVae = Annotated[
    Path | None,
    flag(
        "Lossy: decode with a tiny VAE, taew2_1 (`mg download` fetches it) or its file: much faster, not quite the same pictures.",
        default="none, the VAE of the release decodes",
        panel=MODEL,
        choices=("taew2_1",),
        metavar="NAME|FILE",
    ),
]
Height = Annotated[
    int | None,
    flag("Of the video, a multiple of 16.", default="352; the mini world's is 96", panel=MODEL, metavar="N"),
]
Width = Annotated[
    int | None,
    flag("Of the video, a multiple of 16.", default="640; the mini world's is 160", panel=MODEL, metavar="N"),
]
LocalAttnSize = Annotated[
    int | None,
    flag(
        "How many latent frames the model looks back on.",
        default="what it was trained with: 6, gta_drive 4",
        panel=MODEL,
        metavar="N",
    ),
]
Device = Annotated[
    str | None,
    flag(
        "Where the model runs; cuda:1 is the second GPU.",
        default="auto: the GPU, if there is one",
        panel=MACHINE,
        choices=DEVICES,
    ),
]
Dtype = Annotated[
    str | None,
    flag(
        "The numbers it computes with.", default="auto: bfloat16, float32 on a CPU", panel=MACHINE, choices=DTYPES
    ),
]  # fmt: skip
Reference = Annotated[
    bool | None,
    flag("Run the plain model, the measure of the fast one: the same pictures, slower.", "--reference", panel=MACHINE),
]
Attention = Annotated[
    str | None,
    flag(
        "Which attention computes; `mg doctor` says which work here.",
        default="auto, the fastest that works",
        panel=MACHINE,
        choices=ATTENTIONS,
    ),
]
Compile = Annotated[
    bool | None,
    flag(
        "Let torch compile the plain model's layers; on an H100 this is slower than leaving it out.",
        "--compile",
        panel=MACHINE,
    ),
]
Graphs = Annotated[
    bool | None,
    flag(
        "Replay the fast model as CUDA graphs, which spares the launching of its kernels.",
        "--graphs/--no_graphs",
        default="on with a CUDA GPU",
        panel=MACHINE,
    ),
]
Fp8 = Annotated[
    bool | None,
    flag(
        "Lossy: large products in 8-bit floats. Forwards 1.1x faster, 1 GB less memory; 36 dB from exact over 3 blocks. For "
        "GPUs of compute capability 8.9 or higher.",
        "--fp8",
        panel=MACHINE,
    ),
]
