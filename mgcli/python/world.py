"""`mg` from Python: a world that is walked a block at a time, by the requests, rollout and records of the commands. Imports torch.

    with mgcli.World(seed=1) as world:
        frames = world.step("W")            # uint8 (9, H, W, 3), later blocks have 12 frames
        for frames in world.walk("W*24 A*12"):
            ...
        world.save("walk.mp4")

Actions are written as in scripts: "W", "WL", "W(0.02,-0.05)", "W*6 L*6".
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import torch
from torch import Tensor

from mgcli.app.outputs import Outputs
from mgcli.app.recording import Recording, recorded
from mgcli.game.generation import Made, on_host
from mgcli.game.players import RandomPlayer
from mgcli.game.request import RANDOM, StreamRequest, game_request
from mgcli.game.worlds import explained_memory, facts_of, open_models
from mgcli.python.inline import html, html_text
from mgcli.python.pictures import Picture, PictureFile, as_file, picture_beside
from mgcli.python.settings import WorldSettings, check_names, settings_named
from wan.fast.engine import Engine
from wan.game.actions import ActionScript
from wan.game.conditions import fit, open_image
from wan.game.models import GameModels
from wan.game.modes import Mode
from wan.game.rollout import ActionSource
from wan.game.rollout import World as Rollout
from wan.game.savepoint import load_world, save_world
from wan.game.scripts import load_script, parse_text

log = logging.getLogger(__name__)
ELSEWHERE = {
    "actions": "step() and walk() take them",
    "output": "save(path) writes the video",
    "overwrite": "save(path, overwrite=True) does that",
    "save_latents": "a world has its latents, and save(path, latents=True) keeps them",
    "load_state": "World.load_state(path) goes on with a saved world",
    "batch": "begin as many worlds with another(), or see mgcli.gym.WorldVectorEnv",
}
CLOSED = "this world is closed; begin another one"


class World:
    """A world in hand. It keeps what it makes, for `save`; a long walk that is not to be saved is begun with keep=False.

    Without `checkpoint_path` it is the embedded mini world. `image` is what the first frame shows: a file, a PIL image or an
    array. Two worlds at once are two Worlds: `another` begins a second one with the same weights.

    `mode`, `seed` and `fps` say what it is; `block` and `frame` count what was made since it began.
    """

    mode: Mode
    seed: int
    fps: float
    block: int
    frame: int
    request: StreamRequest
    _models: GameModels | None  # none, as the rollout, when it is closed
    _rollout: Rollout | None
    _picture: PictureFile | None  # that it began with, where that is known
    _made: list[Made]
    _facts: dict[str, str]
    _keep: bool

    def __init__(
        self, image: Picture | None = None, *, seed: int = 0, keep: bool = True, **settings: Unpack[WorldSettings]
    ):
        with settings_named():
            request = world_request(settings)
            self._open(request, open_models(request), keep)
            self._begin(image, seed)

    @classmethod
    def load_state(cls, path: str | Path, *, keep: bool = True, **settings: Unpack[WorldSettings]) -> World:
        """The world that `save_state` (or `mg stream --save_state`) saved, to the last bit; frames before that are not in it.
        Settings are those it was begun with."""
        world = cls.__new__(cls)
        with settings_named():
            request = replace(world_request(settings), load_state=Path(path))
            world._open(request, open_models(request), keep)
            rollout, note = load_world(path, world._models_now())
        picture = PictureFile(Path(note["image"])) if note.get("image") else None
        world.request = replace(world.request, seed=note.get("seed", 0))
        world._take(rollout, picture, world.request.seed)
        return world

    def another(self, image: Picture | None = None, *, seed: int = 0, keep: bool = True) -> World:
        """A second world beside this one: the same weights and settings, an engine of its own."""
        models, world = self._models_now(), type(self).__new__(type(self))
        own = replace(models, engine=Engine(models.causal, models.engine.graphs))
        world._open(replace(self.request, load_state=None), own, keep)
        world._begin(image, seed)
        return world

    def restart(self, image: Picture | None = None, *, seed: int | None = None) -> None:
        """This world ends and another begins in its place, with its image and its seed unless others are given."""
        again = self._picture if image is None else as_file(image)
        self.request = replace(self.request, load_state=None)
        self._begin(again, self.seed if seed is None else seed)

    @property
    def image(self) -> np.ndarray:
        """What it began with, in the shape of its frames, uint8 (H, W, 3)."""
        if self._picture is None:
            raise ValueError("the image that this world began with is not known: its state was saved without one")
        return np.asarray(fit(open_image(self._picture.path), self.request.height, self.request.width))

    @property
    def frames(self) -> np.ndarray:
        """All that is kept, uint8 (F, H, W, 3)."""
        return np.concatenate([made.video[0] for made in self._kept()])

    @property
    def latents(self) -> Tensor:
        """Of all frames that are kept, (1, 16, latent frames, H/8, W/8)."""
        return torch.cat([made.latents for made in self._kept() if made.latents is not None], dim=2)

    def step(self, action: str) -> np.ndarray:
        """The next block, uint8 (frames, H, W, 3), while `action` is held; several in one block are "W*6 L*6"."""
        if not isinstance(action, str):
            raise TypeError(f'an action is written as in scripts, such as "W" or "WL", not {action!r}')
        script, frames = parse_text(action, self.mode), len(self._rollout_now().span.frames)
        if len(script) > frames:
            raise ValueError(f"{action!r} is {len(script)} frames, the next block has {frames}: walk() makes several")
        return self._play(held(script, self.frame))

    def walk(self, actions: str | Path, blocks: int | None = None) -> Iterator[np.ndarray]:
        """Block by block until the script is done: a text, the name of a .txt, .json or .csv file, or "random", which does not
        end by itself. With `blocks` as many as that; the last action of a script is held."""
        self._rollout_now()
        if str(actions) == RANDOM:
            walker = RandomPlayer(self.mode, self.request.action_seed)
            return self._walk(lambda frames: walker.actions(frames), None, blocks)
        script = load_script(str(actions), self.mode)
        return self._walk(held(script, self.frame), None if blocks else self.frame + len(script), blocks)

    def save(self, path: str | Path, *, overwrite: bool = False, latents: bool = False) -> Path:
        """What is kept, as `mg generate` leaves it: the video, its twin with keys drawn on it, and the record, which replays it.
        Where one of them is there already all take the next number, unless `overwrite`; returns where the video went."""
        kept, request = self._kept(), replace(self.request, output=Path(path))
        with Outputs(request, overwrite) as outputs:
            place = outputs.place("path", request.output, self._files)
            if place != request.output:
                log.warning("%s, or what goes with it, is there: the video is %s", path, place)
            self._write(kept, replace(request, output=place, save_latents=latents))
        return place

    def save_state(self, path: str | Path) -> None:
        """The world itself, for `load_state` and `mg stream --load_state`; it goes on meanwhile."""
        rollout, note = self._rollout_now(), self._origin()
        with Outputs(self.request, overwrite=True) as outputs:
            save_world(outputs.place("path", Path(path)), rollout, note)

    def close(self) -> None:
        """Give its memory back. What is kept can still be saved."""
        if self._models:
            self._models.engine.close()
        self._models = self._rollout = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.mode.name} world, seed {self.seed}, {self.frame} frames>"

    def _repr_html_(self) -> str:
        return html(self.frames, self.fps) if self._made else html_text(repr(self))

    # ------------------------------------------------------------------------------------------------------------------

    def _open(self, request: StreamRequest, models: GameModels, keep: bool) -> None:
        self.request, self.mode, self.fps = request, models.mode, request.fps
        self._models, self._facts, self._keep = models, facts_of(models), keep

    def _begin(self, image: Picture | PictureFile | None, seed: int) -> None:
        picture = (
            image if isinstance(image, PictureFile) else as_file(self.request.default_image if image is None else image)
        )
        models, seed = self._models_now(), index(seed)
        self.request = request = replace(self.request, seed=seed)  # which is held to its limits
        with settings_named(), explained_memory(request):
            start = open_image(picture.path)
            rollout = models.start([start], [seed], request.sampling(), request.height, request.width)
        self._take(rollout, picture, seed)

    def _take(self, rollout: Rollout, picture: PictureFile | None, seed: int) -> None:
        self._rollout, self._picture, self.seed, self._made = rollout, picture, seed, []
        self._count()

    def _count(self) -> None:
        now = self._rollout_now()
        self.block, self.frame = now.block, now.span.frames.start

    def _models_now(self) -> GameModels:
        if self._models is None:
            raise ValueError(CLOSED)
        return self._models

    def _rollout_now(self) -> Rollout:
        if self._rollout is None:
            raise ValueError(CLOSED)
        return self._rollout

    def _walk(self, source: ActionSource, end: int | None, blocks: int | None) -> Iterator[np.ndarray]:
        for _ in itertools.count() if blocks is None else range(blocks):
            if end is not None and self.frame >= end:
                return
            yield self._play(source)

    def _play(self, source: ActionSource) -> np.ndarray:
        rollout = self._rollout_now()
        chosen = source(rollout.span.frames)
        assert chosen is not None, "scripts hold their last action, and walks do not end"
        with settings_named(), explained_memory(self.request):
            made = on_host(rollout.generate(chosen), rollout, keep_latents=self._keep)
        self._count()
        if self._keep:
            self._made.append(made)
        return made.video[0]

    def _kept(self) -> list[Made]:
        if not self._made:
            why = (
                "this world makes its first block with step() or walk()"
                if self._keep
                else "it was begun with keep=False"
            )
            raise ValueError(f"there are no frames to be had: {why}")
        return list(self._made)

    def _origin(self) -> dict[str, Any]:
        """What a record says of one world."""
        return {"seed": self.seed} | ({"image": str(self._picture.path)} if self._picture else {})

    def _files(self, path: Path) -> dict[str, Path]:
        named = self._picture is not None and self._picture.from_memory
        return recorded(path) | ({"image": picture_beside(path)} if named else {})

    def _write(self, kept: list[Made], request: StreamRequest) -> None:
        origin = self._origin()
        if self._picture and self._picture.from_memory:
            self._picture.copy(picture_beside(request.output))
            origin |= {"image": str(picture_beside(request.output))}
        image = (Path(origin["image"]),) if "image" in origin else ()
        with Recording(request.output, self.mode, self.fps) as recording:
            recording.tell(replace(request, image=image), **origin, **self._facts)
            for made in kept:
                recording.write(made.video[0], made.actions[0])
                if request.save_latents and made.latents is not None:
                    recording.keep(made.latents)


def world_request(settings: Mapping[str, Any]) -> StreamRequest:
    """That of `mg stream`, because its record replays as a session; without end, because who steps decides when."""
    check_names("World()", settings, WorldSettings, ELSEWHERE)
    texts = {name: str(settings[name]) for name in ("checkpoint_path", "config_path") if settings.get(name)}
    return game_request(StreamRequest, {**settings, **texts, "max_num_output_frames": 0})


def held(script: ActionScript, begun: int) -> ActionSource:
    """A script that began at that frame; past its end the last action is held."""
    return lambda frames: [script.window(range(frames.start - begun, frames.stop - begun))]
