"""The released models by name: where each is published, which of its files are needed, and which are here already.

A model keeps the folder layout of its release, so that a folder downloaded by hand counts too. Models of one release share
its folder and therefore its VAE and CLIP. What is in the files is wan.files.checkpoint's business; here they need only be whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

WHERE_MODELS_LIVE = "$MG_MODELS, else ~/.cache/mgcli/models"
WEIGHT_FILES = (".safetensors", ".gguf", ".pth", ".index.json")
NOISES = ("high", "low")


@dataclass(frozen=True)
class Model:
    source: str  # a repository of huggingface.co, or the https address that `files` are under
    folder: str  # its own inside the folder of all models
    files: tuple[str, ...]  # `*` stands for any number of shards
    digests: Mapping[str, str] = field(default_factory=dict)  # of files that are not on the hub, which states its own
    also: tuple[Model, ...] = ()  # what it does not run without and others publish; it goes into the same folder

    @property
    def on_hub(self) -> bool:
        return not self.source.startswith("https://")


def _matrix_game(checkpoint: str) -> Model:
    shared = ("Wan2.1_VAE.pth", "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth")
    return Model("Skywork/Matrix-Game-2.0", "Matrix-Game-2.0", (*shared, checkpoint))


def _wan22(repository: str) -> Model:
    expert = ("config.json", "diffusion_pytorch_model.safetensors.index.json", "*.safetensors")
    experts = [f"{folder}/{file}" for folder in ("high_noise_model", "low_noise_model") for file in expert]
    shared = ("Wan2.1_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/tokenizer.json")
    return Model(f"Wan-AI/{repository}", repository, (*shared, *experts))


REPACKAGED = "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
REPACKAGED_VAE = "split_files/vae/wan_2.1_vae.safetensors"


def _fp8(kind: str) -> Model:
    """ComfyUI's single files; both kinds share a folder, and so text encoder and VAE."""
    experts = [
        f"split_files/diffusion_models/wan2.2_{kind}_{noise}_noise_14B_fp8_scaled.safetensors" for noise in NOISES
    ]
    text_encoder = "split_files/text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    return Model(REPACKAGED, "Wan_2.2_ComfyUI_Repackaged", (REPACKAGED_VAE, text_encoder, *experts))


def _gguf(kind: str, size: str) -> Model:
    """One size of the packed experts, with a text encoder that is hardly smaller than exact: it works once a run."""
    experts = [f"{noise.title()}Noise/Wan2.2-{kind.upper()}-A14B-{noise.title()}Noise-{size}.gguf" for noise in NOISES]
    folder = "Wan2.2-A14B-GGUF"
    text_encoder = Model("city96/umt5-xxl-encoder-gguf", folder, ("umt5-xxl-encoder-Q8_0.gguf",))
    vae = Model(REPACKAGED, folder, (REPACKAGED_VAE,))
    return Model(f"QuantStack/Wan2.2-{kind.upper()}-A14B-GGUF", folder, tuple(experts), also=(text_encoder, vae))


def _taehv(file: str, git_id: str) -> Model:
    """Of one commit: a newer file under the same name would decode other pictures."""
    commit = "1a88a7dcafa06f46866661c0d687654aafa5521b"
    return Model(f"https://github.com/madebyollin/taehv/raw/{commit}", "taehv", (file,), {file: git_id})


MODELS = {
    "universal": _matrix_game("base_distilled_model/base_distill.safetensors"),
    "gta_drive": _matrix_game("gta_distilled_model/gta_keyboard2dim.safetensors"),
    "templerun": _matrix_game("templerun_distilled_model/templerun_7dim_onlykey.safetensors"),
    "t2v-A14B": _wan22("Wan2.2-T2V-A14B"),
    "i2v-A14B": _wan22("Wan2.2-I2V-A14B"),
    "t2v-A14B-fp8": _fp8("t2v"),
    "i2v-A14B-fp8": _fp8("i2v"),
    "t2v-A14B-Q4_K_M": _gguf("t2v", "Q4_K_M"),
    "i2v-A14B-Q4_K_M": _gguf("i2v", "Q4_K_M"),
    "taew2_1": _taehv("taew2_1.pth", "d6ffa27358914606153bbb790bd1da1c5cf822fd"),
}

GAME_MODELS = ("universal", "gta_drive", "templerun")
VIDEO_MODELS = tuple(name for name in MODELS if name[1:].startswith("2v-A14B"))  # of each kind the most exact first


def own_first(own: Iterable[str]) -> list[str]:
    """The names of all models, those of one program in front."""
    return list(dict.fromkeys([*own, *MODELS]))


def download_command(name: str) -> str:
    """What fetches it; a wrong name is for that command to refuse."""
    return f"{'wan22' if name in VIDEO_MODELS else 'mg'} download {name}"


def find_model(name: str) -> Model:
    if name not in MODELS:
        near = get_close_matches(name, MODELS, n=1, cutoff=0.4)
        raise ValueError(
            f"no model {name!r}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(MODELS)}")
        )
    return MODELS[name]


def models_dir(chosen: Path | None = None) -> Path:
    return expanded(chosen or os.environ.get("MG_MODELS") or "~/.cache/mgcli/models")


def expanded(given: str | Path) -> Path:
    """With the home folder for ~; as it stands where none is known, as a shell does."""
    return Path(os.path.expanduser(given))


def checkpoint_file(given: str) -> Path:
    """A file or folder, or the name of a model that `mg download` has fetched."""
    path = expanded(given)
    if path.exists():
        return path
    if given not in MODELS:
        named = f"{', '.join(GAME_MODELS)} are names that `mg download` knows"
        raise FileNotFoundError(f"no such file or folder: {given}; {named}")
    file = models_dir() / MODELS[given].folder / MODELS[given].files[-1]
    if not file.exists():
        raise FileNotFoundError(f"{given} is not in {models_dir()}: `{download_command(given)}` fetches it")
    return file


def problems(model: Model, root: Path) -> list[str]:
    """What keeps a model from being complete under `root`, a line each; empty when it is."""
    return problems_in(model, root / model.folder)


def problems_in(model: Model, folder: Path) -> list[str]:
    """The same of the model's own folder, wherever that is."""
    files = [file for one in (model, *model.also) for file in one.files]
    found = {pattern: sorted(folder.glob(pattern)) for pattern in files}
    lines = [f"missing: {pattern}" for pattern, paths in found.items() if not paths]
    paths = [path for some in found.values() for path in some]
    # an index opens its shards as well, so what is wrong with one is said twice
    return list(dict.fromkeys([*lines, *(line for path in paths for line in file_problems(path))]))


def file_problems(path: Path) -> list[str]:
    """Weights are opened, which reads their headers only; a line if that fails."""
    if not path.name.endswith(WEIGHT_FILES):
        return []
    from wan.files.readers import open_tensors

    try:
        open_tensors(path)
    except (ValueError, OSError) as error:
        return [str(error)]
    return []
