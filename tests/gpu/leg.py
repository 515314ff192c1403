"""What a leg is, and the setting it finds: where the random releases are and how large everything is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from mgcli.app.models import MODELS


class Failed(AssertionError):
    """What a leg proves is not so; the message says where."""


class Skipped(Exception):
    """A leg cannot run on this machine; the message says what is missing."""


@dataclass(frozen=True)
class Setting:
    folder: Path  # of everything that the gate writes
    rehearse: bool = False

    @property
    def device(self) -> str:
        """That of a run without flags."""
        return "cpu" if self.rehearse else "cuda"

    def own(self, name: str) -> Path:
        """A leg's own folder."""
        path = self.folder / "legs" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def game(self) -> Path:
        return self.folder / "Matrix-Game-2.0"

    def checkpoint(self, mode: str) -> Path:
        return self.game / MODELS[mode].files[-1]

    def wan22(self, task: str) -> Path:
        return self.folder / task

    @property
    def tiny_vae(self) -> Path:
        return self.folder / "taew2_1.pth"

    @property
    def game_size(self) -> tuple[int, int]:
        """Height and width of the release."""
        return (32, 48) if self.rehearse else (352, 640)

    @property
    def other_size(self) -> tuple[int, int]:
        return (48, 32) if self.rehearse else (256, 448)

    @property
    def worlds(self) -> int:
        """How many one process plays."""
        return 5 if self.rehearse else 20

    def video(self, steps: int = 4) -> list[str]:
        """Flags of a video of the A14B release: few frames and steps, at a size that the model was trained for."""
        size = ["32*48", "--any_size", "--frame_num", "9"] if self.rehearse else ["832*480", "--frame_num", "17"]
        return ["--size", *size, "--sample_steps", str(steps)]

    def clip(self, steps: int = 20) -> list[str]:
        """Flags of a clip of the embedded mini."""
        return ["--frame_num", "9", "--sample_steps", "8"] if self.rehearse else ["--sample_steps", str(steps)]


Function = Callable[[Setting], str]


@dataclass(frozen=True)
class Leg:
    function: Function
    seconds: int  # about, on one H200; those that take long start first
    needs: tuple[str, ...] = ()  # legs that must have passed before

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def module(self) -> str:
        return self.function.__module__

    @property
    def proves(self) -> str:
        """The sentence that the function begins with."""
        return " ".join((self.function.__doc__ or "").split())


def leg(seconds: int, *needs: str) -> Callable[[Function], Leg]:
    """Makes a leg of a function that returns a note for the report, raises Skipped, or fails."""
    return lambda function: Leg(function, seconds, needs)


def legs_of(module: ModuleType) -> list[Leg]:
    return [value for value in vars(module).values() if isinstance(value, Leg) and value.module == module.__name__]


def need_cuda(setting: Setting) -> None:
    if setting.rehearse:
        raise Skipped("needs a CUDA GPU")
