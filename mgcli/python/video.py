"""`wan22` from Python: a prompt in, frames out, by the requests, plans and records of `wan22 t2v` and `wan22 i2v`. Imports torch.

    wan22.generate("two red stars", sample_steps=20).save("a.mp4")

A VideoRun is what the commands watch: iterate it for the steps, ask it for the videos.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
from torch import Tensor

from mgcli.app.devices import out_of_memory_as
from mgcli.app.outputs import Outputs
from mgcli.app.presets import write_request
from mgcli.python.inline import html
from mgcli.python.pictures import Picture, PictureFile, as_file, picture_beside
from mgcli.python.settings import VideoSettings, check_names, settings_named
from mgcli.video.record import again, video_facts
from mgcli.video.request import Wan22Request, fitted, open_start, wan22_request
from mgcli.video.run import open_generation, write_video, written
from wan.files.saving import save_tensors
from wan22.config import find_task, seeded
from wan22.pipeline import StepDone
from wan22.plan import PlannedVideo, planned

log = logging.getLogger(__name__)
ELSEWHERE = {
    "prompt_file": "give a list of prompts",
    "save_file": "save() the video that it returns",
    "overwrite": "save(path, overwrite=True) does that",
    "save_latents": "a video has its latents, and save(path, latents=True) keeps them",
    "offload_model": "residency='one' is its meaning here",
    "convert_model_dtype": "dtype='bfloat16' is its meaning here",
}


@dataclass(frozen=True, eq=False)
class MadeVideo:
    """A finished video: `frames` as uint8 (F, H, W, 3), `latents` (1, 16, latent frames, H/8, W/8), `fps`."""

    frames: np.ndarray
    latents: Tensor
    fps: int
    request: Wan22Request  # with nothing left open: it makes this video again
    facts: dict[str, Any]
    _pictures: dict[str, PictureFile]

    @property
    def seed(self) -> int:
        return self.request.base_seed

    @property
    def record(self) -> dict[str, Any]:
        """What `save` writes beside the video: the request, seconds, versions."""
        return {"request": asdict(self.request), **self.facts}

    def save(self, path: str | Path, *, overwrite: bool = False, latents: bool = False) -> Path:
        """The video, its record (a preset that makes it again) and, if asked for, its latents. Where one of them is there
        already all take the next number, unless `overwrite`; returns where the video went."""
        asked = Path(path)
        if asked.suffix.lower() != ".mp4":
            raise ValueError(f"{asked} is not an .mp4 file: name it {asked.with_suffix('.mp4')}")
        with Outputs(self.request, overwrite) as outputs:
            place = outputs.place("path", asked, self._files)
            if place != asked:
                log.warning("%s, or what goes with it, is there: the video is %s", asked, place)
            self._write(place, latents)
        return place

    def _files(self, path: Path) -> dict[str, Path]:
        return written(path) | {name: picture_beside(path, name) for name in self._pictures}

    def _write(self, path: Path, latents: bool) -> None:
        write_video(path, self.fps, [self.frames])
        more = {"video": str(path)}
        for name, picture in self._pictures.items():
            picture.copy(picture_beside(path, name))
        if latents:
            file = written(path)["latents"]
            save_tensors(file, {"latents": self.latents}, {"seed": str(self.seed)})
            more |= {"latents": str(file)}
        pictures: dict[str, Any] = {name: picture_beside(path, name) for name in self._pictures}
        request = replace(self.request, save_file=path, save_latents=latents, **pictures)
        write_request(path.with_suffix(".json"), request, more | self.facts)

    def _repr_html_(self) -> str:
        return html(self.frames, self.fps)

    def __repr__(self) -> str:
        frames, height, width, _ = self.frames.shape
        return f"<{frames} frames of {width}x{height}, seed {self.seed}: {self.request.prompt!r}>"


class VideoRun:
    """Videos being made. Iterating runs them step by step; `videos`, or `video` where there is one, runs what is left.

        run = wan22.VideoRun("two red stars", sample_steps=20)
        for done in run:
            print(done.step.index + 1, "of", len(run), done.step.expert)
        run.video.save("a.mp4")

    Several prompts are several videos of one run: nothing is loaded twice, and seeds count up. What cannot run is refused
    at once, before anything is loaded. `planned` are the videos' plans, row by row.
    """

    def __init__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        image: Picture | None = None,
        last_image: Picture | None = None,
        **settings: Unpack[VideoSettings],
    ):
        check_names("generate()", settings, VideoSettings, ELSEWHERE)
        given = {"image": image, "last_image": last_image}
        pictures = {name: as_file(picture) for name, picture in given.items() if picture is not None}
        with settings_named():
            requests = video_requests(prompt, pictures, dict(settings))
            self.request = requests[0]
            self._start = open_start(self.request)
            asked = [fitted(video, self._start) for request in requests for video in request.videos()]
            self.planned: list[PlannedVideo] = [planned(seeded(video, offset=i)) for i, video in enumerate(asked)]
        self._pictures = {name: picture for name, picture in pictures.items() if picture.from_memory}
        self._made: list[MadeVideo] = []
        self._steps = self._run()

    def __len__(self) -> int:
        """Steps of all videos."""
        return sum(len(video.steps) for video in self.planned)

    def __iter__(self) -> Iterator[StepDone]:
        """What is left of the steps; each has its row of the plan, the latents after it, and the seconds it took."""
        return self._steps

    @property
    def videos(self) -> list[MadeVideo]:
        for _ in self._steps:
            pass
        if len(self._made) < len(self.planned):
            raise ValueError("this run was ended before its videos were done; begin another one")
        return list(self._made)

    @property
    def video(self) -> MadeVideo:
        if len(self.planned) != 1:
            raise ValueError(f"this run makes {len(self.planned)} videos: ask for `videos`")
        return self.videos[0]

    def _run(self) -> Iterator[StepDone]:
        with settings_named():
            generation = open_generation(self.request, self.planned, self._start)
            with out_of_memory_as(lambda _: generation.out_of_memory(self.request.vae_tiling)):
                for i, done in generation.steps():
                    yield done
                    if done.step is self.planned[i].steps[-1]:
                        self._made.append(self._finished(generation, i))

    def _finished(self, generation: Any, i: int) -> MadeVideo:
        frames = np.concatenate(list(generation.frames(i, self.request.vae_tiling)))
        latents = generation.latents[i].cpu()
        request = again(self.request, generation, self.planned[i].request, None)
        facts = video_facts(self.request, generation, i)
        return MadeVideo(frames, latents, find_task(request.task).fps, request, facts, self._pictures)


def video_requests(
    prompt: str | Sequence[str] | None, pictures: dict[str, PictureFile], settings: dict[str, Any]
) -> list[Wan22Request]:
    """Of each prompt as the command that is meant: i2v where there is an image. One that is not given may be in a preset."""
    task = settings.pop("task", "i2v-A14B" if pictures or "video" in settings else None)
    flags = settings | {name: picture.path for name, picture in pictures.items()} | ({"task": task} if task else {})
    if prompt is None:
        return [wan22_request(flags)]
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts:
        raise ValueError("there is no prompt; say what the video shows")
    return [wan22_request(flags | {"prompt": text}) for text in prompts]


@overload
def generate(
    prompt: str | None = None,
    *,
    image: Picture | None = None,
    last_image: Picture | None = None,
    on_step: Callable[[StepDone], object] | None = None,
    **settings: Unpack[VideoSettings],
) -> MadeVideo: ...
@overload
def generate(
    prompt: list[str] | tuple[str, ...],
    *,
    image: Picture | None = None,
    last_image: Picture | None = None,
    on_step: Callable[[StepDone], object] | None = None,
    **settings: Unpack[VideoSettings],
) -> list[MadeVideo]: ...
def generate(
    prompt: str | list[str] | tuple[str, ...] | None = None,
    *,
    image: Picture | None = None,
    last_image: Picture | None = None,
    on_step: Callable[[StepDone], object] | None = None,
    **settings: Unpack[VideoSettings],
) -> MadeVideo | list[MadeVideo]:
    """A video from a text, or from an image and a text; a list of texts is a list of videos, and a preset
    (`config_path`, also the record beside a video) may say the text. Without `ckpt_dir` the downloaded
    release makes it, else for text the embedded mini. It begins with `image` (or where `video` ends) and may end with `last_image`.

        video = wan22.generate("two red stars", sample_steps=20, base_seed=1)
        video.save("a.mp4")

    `on_step` is called after every step. Settings are those of the commands, by their names; numbers, tuples and True are as
    Python has them.
    """
    run = VideoRun(prompt, image=image, last_image=last_image, **settings)
    for done in run:
        if on_step:
            on_step(done)
    return run.video if isinstance(prompt, str | None) else run.videos
