"""A world as a gymnasium environment: an action is held for a block, the observation is the frame that it comes to.

    env = mgcli.gym.WorldEnv(blocks=10)                          # or gymnasium.make("mgcli.gym:MatrixGame-v0")
    frame, info = env.reset(seed=1)                              # uint8 (H, W, 3): the start image
    frame, reward, terminated, truncated, info = env.step({"keys": 1, "camera": np.zeros(2, np.float32)})
    info["frames"]                                               # the whole block: 9 frames at first, then 12

A world has no goal: the reward is 0.0 unless a function of a block's frames and its action says otherwise, nothing
terminates, and after `blocks` the episode is truncated. Needs the extra `gym`. Imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from PIL import Image

from mgcli.game.generation import Made, on_host
from mgcli.game.worlds import explained_memory, open_models
from mgcli.python.pictures import Picture, as_file
from mgcli.python.settings import WorldSettings, settings_named
from mgcli.python.world import World, world_request
from wan.game.actions import Action, action, text
from wan.game.conditions import fit, open_image
from wan.game.models import GameModels
from wan.game.modes import CAM_VALUE, MODES, Mode
from wan.game.rollout import World as Rollout

try:
    import gymnasium
    from gymnasium import spaces
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space, iterate
except ModuleNotFoundError as missing:
    raise ImportError("mgcli.gym needs gymnasium: pip install gymnasium") from missing

__all__ = ["WorldEnv", "WorldVectorEnv"]
Reward = Callable[[np.ndarray, str], float]  # of a block's frames (F, H, W, 3) and its action, such as "WL"
BLOCKS = 50  # of an episode: 597 frames, the official length
ID = "MatrixGame-v0"


class Buttons:
    """The actions of a mode as a space: `keys`, which of its holds, and `camera`, (pitch, yaw) a frame, where it turns one."""

    def __init__(self, mode: Mode):
        self.mode, self.holds = mode, holds(mode)
        parts: dict[str, spaces.Space[Any]] = {"keys": spaces.Discrete(len(self.holds))}
        if mode.has_mouse:
            parts["camera"] = spaces.Box(-CAM_VALUE, CAM_VALUE, (2,), np.float32)
        self.space = spaces.Dict(parts)

    def action(self, chosen: dict[str, Any]) -> Action:
        pitch, yaw = (round(float(turn), 6) for turn in chosen.get("camera", (0, 0)))  # 0.1 is no number of float32
        return action(self.mode, self.holds[int(chosen["keys"])], (pitch, yaw) if pitch or yaw else None)


def holds(mode: Mode) -> tuple[str, ...]:
    """The movement keys that can be held together, none first: "", "W", "S", ..., "SD"."""
    letters = mode.move_letters
    subsets = ("".join(some) for count in range(len(letters) + 1) for some in combinations(letters, count))
    return tuple(held for held in subsets if all(sum(key in group for key in held) < 2 for group in mode.opposed))


class WorldEnv(gymnasium.Env[np.ndarray, dict[str, Any]]):
    """One world. `world` is the mgcli.World of this episode: `env.world.save("episode.mp4")`. The noise of an episode has the
    seed that `reset` is given, else one that is drawn; options={"image": ...} begins it with another image."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 25}

    def __init__(
        self,
        *,
        image: Picture | None = None,
        blocks: int = BLOCKS,
        reward: Reward | None = None,
        render_mode: str | None = None,
        **settings: Unpack[WorldSettings],
    ):
        self.blocks, self.reward, self.render_mode = check_blocks(blocks), reward, check_render(render_mode)
        self._image, self._settings = image, settings
        with settings_named():
            request = world_request(settings)
        self._buttons = Buttons(MODES[request.mode])
        self.action_space = self._buttons.space
        self.observation_space = spaces.Box(0, 255, (request.height, request.width, 3), np.uint8)
        self.metadata = self.metadata | {"render_fps": request.fps}
        self._world: World | None = None
        self._shown: np.ndarray | None = None

    @property
    def world(self) -> World:
        if self._world is None:
            raise gymnasium.error.ResetNeeded("reset() begins the first world")
        return self._world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        image, number = (options or {}).get("image", self._image), drawn(self.np_random, seed)
        if self._world is None:
            self._world = World(image, seed=number, **self._settings)
        else:
            self._world.restart(image, seed=number)
        self._shown = self._world.image
        return self._shown, {"seed": number}

    def step(self, action: dict[str, Any]) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        world, said = self.world, text(self._buttons.mode, self._buttons.action(action))
        frames = world.step(said)
        self._shown = frames[-1]
        earned = float(self.reward(frames, said)) if self.reward else 0.0
        return self._shown, earned, False, world.block >= self.blocks, {"frames": frames, "action": said}

    def render(self) -> np.ndarray | None:
        return self._shown if self.render_mode else None

    def close(self) -> None:
        if self._world:
            self._world.close()


class WorldVectorEnv(VectorEnv[np.ndarray, dict[str, Any], np.ndarray]):
    """Several worlds in one forward. They are one batch: all begin and all end together, and the step after the last one begins
    them again (AutoresetMode.NEXT_STEP). World i of seed s is the WorldEnv of seed s + i."""

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": 25,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        image: Picture | Sequence[Picture] | None = None,
        blocks: int = BLOCKS,
        reward: Reward | None = None,
        render_mode: str | None = None,
        **settings: Unpack[WorldSettings],
    ):
        if num_envs < 1:
            raise ValueError(f"num_envs {num_envs}: at least 1 world")
        self.num_envs, self.blocks, self.reward = num_envs, check_blocks(blocks), reward
        self.render_mode = check_render(render_mode)
        with settings_named():
            self._request = world_request(settings)
        height, width = self._request.height, self._request.width
        self._buttons = Buttons(MODES[self._request.mode])
        self.single_action_space = self._buttons.space
        self.single_observation_space = spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.metadata = self.metadata | {"render_fps": self._request.fps}
        self._pictures = [as_file(one) for one in spread(image, num_envs, self._request.default_image)]
        self._models: GameModels | None = None
        self._rollout: Rollout | None = None
        self._shown: np.ndarray | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if options and "reset_mask" in options:
            raise ValueError("these worlds are one batch and begin together; reset_mask would begin some of them")
        super().reset(seed=seed if isinstance(seed, int) else None)
        given = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed or [None] * self.num_envs
        seeds = [drawn(self.np_random, one) for one in given]
        request, images = self._request, [open_image(picture.path) for picture in self._pictures]
        with settings_named(), explained_memory(request):
            self._models = self._models or open_models(request)
            self._rollout = self._models.start(images, seeds, request.sampling(), request.height, request.width)
        self._shown = np.stack([np.asarray(fit(image, request.height, request.width)) for image in images])
        return self._shown, {"seed": np.array(seeds)}

    def step(self, actions: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        if self._rollout is None:
            raise gymnasium.error.ResetNeeded("reset() begins the first worlds")
        nobody, rewards = np.zeros(self.num_envs, bool), np.zeros(self.num_envs)
        if self._rollout.block >= self.blocks:
            begun, info = self.reset()
            return begun, rewards, nobody, nobody, info
        chosen = [self._buttons.action(one) for one in iterate(self.action_space, actions)]
        frames, said = self._play(self._rollout, chosen).video, [text(self._buttons.mode, one) for one in chosen]
        self._shown = frames[:, -1]
        if self.reward:
            rewards = np.array([float(self.reward(block, act)) for block, act in zip(frames, said)])
        done = np.full(self.num_envs, self._rollout.block >= self.blocks)
        return self._shown, rewards, nobody, done, {"frames": frames, "action": np.array(said)}

    def _play(self, rollout: Rollout, chosen: list[Action]) -> Made:
        frames = len(rollout.span.frames)
        with settings_named(), explained_memory(self._request):
            return on_host(rollout.generate([[one] * frames for one in chosen]), rollout)

    def render(self) -> tuple[np.ndarray, ...] | None:
        return tuple(self._shown) if self.render_mode and self._shown is not None else None

    def close_extras(self, **_: Any) -> None:
        if self._models:
            self._models.engine.close()
        self._models = self._rollout = None


def check_blocks(blocks: int) -> int:
    if blocks < 1:
        raise ValueError(f"blocks {blocks}: an episode has at least 1")
    return blocks


def check_render(render_mode: str | None) -> str | None:
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode {render_mode!r}: there is rgb_array, the last frame")
    return render_mode


def drawn(source: np.random.Generator, seed: int | None) -> int:
    return int(source.integers(2**31)) if seed is None else seed


def spread(image: Picture | Sequence[Picture] | None, count: int, default: Picture) -> list[Picture]:
    """One for each world."""
    if isinstance(image, str | Path | Image.Image | np.ndarray):
        image = [image]
    images = [default] if image is None else list(image)
    if len(images) not in (1, count):
        raise ValueError(f"{len(images)} images for {count} worlds: give 1 or {count}")
    return images * (count // len(images))


if ID not in gymnasium.registry:
    gymnasium.register(ID, entry_point="mgcli.gym:WorldEnv", vector_entry_point="mgcli.gym:WorldVectorEnv")
