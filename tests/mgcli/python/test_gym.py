"""The gymnasium environments: what gymnasium itself checks, and that they are the worlds that World makes."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")
from gymnasium.utils.env_checker import check_env  # noqa: E402  after the skip

import mgcli  # noqa: E402
from mgcli.gym import Buttons, WorldEnv, WorldVectorEnv  # noqa: E402
from wan.game.actions import text  # noqa: E402
from wan.game.modes import MODES  # noqa: E402

SMALL = {"height": 32, "width": 48}
FORWARD_RIGHT = {"keys": 1, "camera": np.array([0, 0.1], np.float32)}


@pytest.fixture(scope="module")
def env():
    env = WorldEnv(blocks=2, render_mode="rgb_array", **SMALL)
    yield env
    env.close()


def test_gymnasium_finds_nothing_wrong(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(not having a spec|test alternative render modes|spec is None).*")
        check_env(env, skip_close_check=True)


def test_it_is_the_world_of_its_seed(env, tmp_path):
    frame, info = env.reset(seed=5)
    assert info == {"seed": 5} and np.array_equal(frame, env.world.image) and np.array_equal(env.render(), frame)
    blocks = []
    for truncated_then in (False, True):
        frame, reward, terminated, truncated, info = env.step(FORWARD_RIGHT)
        assert (reward, terminated, truncated, info["action"]) == (0.0, False, truncated_then, "WL")
        assert np.array_equal(frame, info["frames"][-1]) and np.array_equal(frame, env.render())
        blocks.append(info["frames"])
    with mgcli.World(seed=5, **SMALL) as world:
        assert all(np.array_equal(ours, world.step("WL")) for ours in blocks)
    assert env.world.save(tmp_path / "episode.mp4").is_file()


def test_episodes_without_a_seed_differ_and_repeat_with_the_first(env):
    seeds = [[env.reset(seed=1)[1]["seed"], env.reset()[1]["seed"], env.reset()[1]["seed"]] for _ in range(2)]
    assert seeds[0] == seeds[1] and len(set(seeds[0])) == 3


def test_worlds_in_one_forward_are_the_worlds_alone(env):
    given = []
    many = WorldVectorEnv(
        2, blocks=2, reward=lambda frames, said: given.append((len(frames), said)) or len(given), **SMALL
    )
    frames, info = many.reset(seed=5)
    assert frames.shape == (2, 32, 48, 3) and info["seed"].tolist() == [5, 6]
    actions = {"keys": np.array([1, 0]), "camera": np.array([[0, 0.1], [0, -0.1]], np.float32)}
    last, rewards, _, truncated, info = many.step(actions)
    assert given == [(9, "WL"), (9, "J")] and rewards.tolist() == [1.0, 2.0] and not truncated.any()
    assert info["frames"].shape == (2, 9, 32, 48, 3) and np.array_equal(last, info["frames"][:, -1])
    for i, chosen in enumerate((FORWARD_RIGHT, {"keys": 0, "camera": np.array([0, -0.1], np.float32)})):
        env.reset(seed=5 + i)
        alone = env.step(chosen)[0]
        # a batch sums in another order, and a pixel may round the other way
        assert np.abs(alone.astype(int) - last[i]).max() <= 1
    assert many.step(actions)[3].all()
    begun, _, _, truncated, _ = many.step(actions)
    assert np.array_equal(begun, frames) and not truncated.any()
    assert many.step(actions)[4]["frames"].shape[1] == 9  # the second episode begins as the first
    many.close()


@pytest.mark.parametrize(("mode", "count"), [("universal", 9), ("gta_drive", 3), ("templerun", 7)])
def test_every_action_of_a_space_is_one_of_the_mode(mode, count):
    buttons = Buttons(MODES[mode])
    assert len(buttons.holds) == count and ("camera" in buttons.space.spaces) == MODES[mode].has_mouse
    buttons.space.seed(0)
    said = {text(MODES[mode], buttons.action(buttons.space.sample())) for _ in range(50)}
    assert len(said) > count / 2


def test_by_name():
    env = gymnasium.make("mgcli.gym:MatrixGame-v0", **SMALL)
    assert isinstance(env.unwrapped, WorldEnv)
    many = gymnasium.make_vec("MatrixGame-v0", num_envs=2, vectorization_mode="vector_entry_point", **SMALL)
    assert isinstance(many.unwrapped, WorldVectorEnv)


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda: WorldEnv(hieght=32), TypeError, "did you mean 'height'"),
        (lambda: WorldEnv(blocks=0), ValueError, "at least 1"),
        (lambda: WorldEnv(render_mode="human"), ValueError, "there is rgb_array"),
        (lambda: WorldEnv().step({"keys": 0}), gymnasium.error.ResetNeeded, "reset"),
        (lambda: WorldVectorEnv(3, image=["a.png", "b.png"]), ValueError, "2 images for 3 worlds: give 1 or 3"),
        (lambda: WorldVectorEnv(2).reset(options={"reset_mask": [True, False]}), ValueError, "begin together"),
    ],
)
def test_mistakes(call, kind, sentence):
    with pytest.raises(kind, match=sentence):
        call()


def test_without_gymnasium():
    code = "import sys; sys.modules['gymnasium'] = None; import mgcli.gym"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: mgcli.gym needs gymnasium: pip install gymnasium" in done.stderr
