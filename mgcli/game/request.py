"""Everything a game world is made from, as one frozen request: default < preset < flag.

The presets are the official configs/inference_yaml/*.yaml, read as they are (`model_kwargs` nests, a shape gives the
size, some settings are of the training code). A recorded session is a preset too: its own request. No torch here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mgcli.app.models import checkpoint_file
from mgcli.app.presets import find_config, load_preset, resolve
from mgcli.game import limits
from wan import schema
from wan.files.config_files import read_config
from wan.files.text import read_text
from wan.game.modes import MODES
from wan.game.sampling import Sampling
from wan.game.scripts import loads
from wan.game.timeline import blocks_in
from wanmini import sizes
from wanmini.start_image import GARDEN, VALLEY

if TYPE_CHECKING:
    from wan.fast.speed import Speed

ModeName = Literal["universal", "gta_drive", "templerun"]
TRAINING_KEYS = ("ts_schedule", "mixed_precision", "causal")  # in the official files; they say nothing to a rollout
RANDOM = "random"  # in place of an action script: the official random walk
MINI_MODE = "universal"  # the mode of the embedded mini world
MINI_SIZE = {"height": sizes.HEIGHT, "width": sizes.WIDTH}
MINI_SAMPLING = {
    "denoising_step_list": sizes.DENOISING_STEPS,
    "timestep_shift": sizes.SHIFT,
    "num_frame_per_block": sizes.BLOCK,
}
SAMPLING_KEYS = (
    "denoising_step_list",
    "warp_denoising_step",
    "timestep_shift",
    "num_frame_per_block",
    "context_noise",
)
# of a recorded session: where things went, and what its own settings have already answered
NOT_REPLAYED = {
    "output",
    "overwrite",
    "script",
    "prompt",
    "save_state",
    "save_latents",
    "config_path",
    "device",
    "dtype",
}


@dataclass(frozen=True)
class GameRequest:
    mode: ModeName
    checkpoint_path: str | None = None  # none: the embedded mini world
    pretrained_model_path: Path | None = None
    tiny_vae: Path | None = None
    config_path: str | None = None
    image: tuple[Path, ...] = ()  # none: the bundled one
    height: int = 352
    width: int = 640
    seed: int = 0
    actions: tuple[str, ...] = ()
    action_seed: int = 0
    fps: float = 25.0
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    output: Path = Path("outputs/demo.mp4")
    overwrite: bool = False
    save_latents: bool = False
    denoising_step_list: tuple[int, ...] = (1000, 666, 333)
    warp_denoising_step: bool = True
    timestep_shift: float = 5.0
    num_frame_per_block: int = 3
    context_noise: float = 0.0
    local_attn_size: int | None = None  # none: what the model was made with
    reference: bool = False
    attention: str = "auto"
    compile: bool = False
    graphs: bool | None = None  # none: where they exist
    fp8: bool = False

    def __post_init__(self) -> None:
        limits.check(self)
        if self.output.suffix.lower() != ".mp4":
            folder = self.output.with_suffix("") if self.output.name else self.output
            raise ValueError(f"output {self.output} is not an .mp4 file: name it such as {folder / 'demo.mp4'}")
        for name in ("pretrained_model_path", "tiny_vae"):
            if getattr(self, name) and not self.checkpoint_path:
                raise ValueError(f"--{name} belongs to a released model: name that with --checkpoint_path")

    @property
    def mini(self) -> bool:
        """The embedded mini world plays: no weights were named, and the mode is the one it was trained for."""
        return not self.checkpoint_path and self.mode == MINI_MODE

    @property
    def default_image(self) -> Path:
        return GARDEN if self.mini else VALLEY

    def speed(self) -> Speed:
        from wan.fast.speed import Speed

        return Speed(self.reference, self.attention, self.compile, self.graphs, self.fp8)

    def sampling(self) -> Sampling:
        return Sampling(**{key: getattr(self, key) for key in SAMPLING_KEYS})


@dataclass(frozen=True)
class GenerateRequest(GameRequest):
    num_output_frames: int | None = None  # none: as long as the actions
    batch: int | None = None  # none: as many as there are images or scripts
    enable_profile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_output_frames is not None:
            blocks_in(self.num_output_frames, self.num_frame_per_block)


@dataclass(frozen=True)
class StreamRequest(GameRequest):
    output: Path = Path("outputs/stream.mp4")
    max_num_output_frames: int = 360
    prompt: bool = False
    script: str | None = None
    save_state: Path | None = None
    load_state: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_num_output_frames:
            blocks_in(self.max_num_output_frames, self.num_frame_per_block)


@dataclass(frozen=True)
class Origin:
    """What a recorded world began with, beside the request of its session."""

    seed: int | None = None
    image: str | None = None


Request = TypeVar("Request", bound=GameRequest)


def game_request(cls: type[Request], flags: dict[str, Any]) -> Request:
    """The request of a command; `flags` are its arguments, None (or an empty list, or False) where one was not given."""
    switches = {field.name for field in dataclasses.fields(cls) if field.default is False}
    flags = {key: value for key, value in flags.items() if value is not None and value != []}
    flags = {key: value for key, value in flags.items() if value or key not in switches}  # a switch left alone
    place_in_folder(cls, flags)
    session = session_request(cls, flags["script"]) if "script" in flags else {}
    preset = session
    if "config_path" in flags:  # the record says which file it was
        flags["config_path"] = str(find_config(flags["config_path"], given=True))
        name = flags["config_path"]
        preset = session | schema.typed(cls, official_preset(name, given=True), name)
    checkpoint = flags.get("checkpoint_path") or preset.get("checkpoint_path")
    mode = flags.get("mode") or preset.get("mode") or (detected_mode(checkpoint) if checkpoint else "universal")
    if not checkpoint and not session:
        preset |= MINI_SIZE  # a YAML's size is that of the released models
    sampling = MINI_SAMPLING if not checkpoint and mode == MINI_MODE else sampling_of(mode)
    return resolve(cls, sampling | preset, flags | {"mode": mode})


def place_in_folder(cls: type[GameRequest], flags: dict[str, Any]) -> None:
    """The official scripts name a folder, and the file in it themselves."""
    if "output_folder" in flags:
        folder = flags.pop("output_folder")
        if "output" in flags:
            raise ValueError("--output and --output_folder were both given; give one")
        flags["output"] = Path(folder) / cls.output.name


def official_preset(name: str, given: bool = False) -> dict[str, Any]:
    """The keys of an official inference YAML as fields of a request."""
    values = load_preset(name, given)
    model = values.pop("model_kwargs", {})
    if not isinstance(model, dict):
        raise ValueError(f"{name}: model_kwargs is {schema.shown(model)}, not a block of keys")
    folder = schema.checked(f"{name}: model_config", model.pop("model_config", None), str | None)
    shape = values.pop("image_or_video_shape", None)
    kept = {key: value for key, value in (values | model).items() if key not in TRAINING_KEYS}
    size = _size(name, shape) if shape is not None else {}
    window = {"local_attn_size": _window(folder, given)} if folder is not None else {}
    return size | window | kept


def sampling_of(mode: str) -> dict[str, Any]:
    """How the released model of this mode is sampled; unknown modes are refused by the request."""
    values = official_preset(f"configs/inference_yaml/inference_{mode}.yaml") if mode in MODES else {}
    return {key: values[key] for key in SAMPLING_KEYS if key in values}


def session_request(cls: type[GameRequest], script: str) -> dict[str, Any]:
    """What a recorded session was started with; nothing where the script is no recording."""
    path = Path(script)
    if path.suffix.lower() != ".json" or not path.is_file():
        return {}
    try:
        record, _ = loads(read_text(path), str(path))
    except ValueError:
        return {}  # reading the actions will say where it is broken
    if not isinstance(record, dict) or not isinstance(record.get("request"), dict):
        return {}
    started = {key: value for key, value in record["request"].items() if key not in NOT_REPLAYED}
    # of this world: a session may have had several
    own = schema.known(Origin, record, script)
    image = {"image": [own["image"]]} if own.get("image") else {}
    seed = {"seed": own["seed"]} if own.get("seed") is not None else {}
    return schema.known(cls, started, script) | image | seed


def detected_mode(checkpoint: str) -> str:
    from wan.files.checkpoint import detect_mode, open_weights

    return detect_mode(open_weights(checkpoint_file(checkpoint)))


def _window(folder: str, given: bool) -> int | None:
    ours = Path(folder).parts[:1] == ("configs",)  # in whosever file: official ones name the official folders so
    return (read_config(find_config(folder, given and not ours)) or {}).get("local_attn_size")


def _size(name: str, shape: Any) -> dict[str, int]:
    if not isinstance(shape, list) or len(shape) != 5 or not all(type(n) is int for n in shape):
        raise ValueError(
            f"{name}: image_or_video_shape {schema.shown(shape)} is not [1, 16, frames, height, width] of latents"
        )
    return {"height": shape[3] * 8, "width": shape[4] * 8}
