"""Every field of a config.json beside weights is given what does not belong there: the file is passed over, or what it makes runs.

Nothing larger than the weights is built, whatever it says, so each answer comes at once."""

import copy
import json
import time

import pytest
import torch
from PIL import Image

from tests.bench.make_random_release import write_release
from wan.fast.engine import Engine
from wan.files import checkpoint
from wan.game.models import GameModels
from wan.game.modes import UNIVERSAL
from wan.game.rollout import Sampling, rollout, scripted
from wan.game.scripts import parse_text
from wanmini.random_world import CLIP, VAE, causal_config, random_world

VALUES = [0, 10**9, float("nan"), "x", [1, 2, 3]]
MOST_SECONDS = 3.0


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("release"), "universal", small=True)


@pytest.fixture
def small_released(monkeypatch):
    """What the loaders fall back on is as small as the file."""
    monkeypatch.setattr(checkpoint, "CAUSAL_MODELS", {"universal": causal_config("universal")})
    monkeypatch.setattr(checkpoint, "WAN21_VAE", VAE)
    monkeypatch.setattr(checkpoint, "CLIP_VIT_H_14", CLIP)


def fields(values, before=()):
    for name, value in values.items():
        yield (*before, name)
        if isinstance(value, dict):
            yield from fields(value, (*before, name))


def changed(values, field, value):
    values = copy.deepcopy(values)
    inner = values
    for name in field[:-1]:
        inner = inner[name]
    inner[field[-1]] = value
    return values


F32 = {"device": "cpu", "dtype": torch.float32}
PARTS = {
    "causal": ("base_distilled_model", lambda at: checkpoint.load_causal(at, **F32)[0]),
    "vae": ("vae", lambda at: checkpoint.load_vae(at, **F32)),
    "clip": ("image_encoder", lambda at: checkpoint.load_clip(at, **F32)),
}


def plays(part, model) -> None:
    """A block with this part in place of the good one."""
    good = random_world()
    parts = {"engine": good.engine, "vae": good.vae, "clip": good.clip} | (
        {"engine": Engine(model)} if part == "causal" else {part: model}
    )
    models = GameModels(UNIVERSAL, decoder=parts["vae"], **parts)
    world = models.start([Image.new("RGB", (64, 64))], [0], Sampling(), 32, 48)
    next(rollout(world, scripted([parse_text("W*9", UNIVERSAL)]))).on_host()


@pytest.mark.parametrize("part", PARTS)
def test_a_config_of_nonsense(release, small_released, part):
    folder, load = PARTS[part]
    path = release.parents[1] / folder / "config.json"
    text, faults = path.read_text(), []
    values = json.loads(text)
    own = load(path.parent).config
    for field in fields(values):
        for value in VALUES:
            path.write_text(json.dumps(changed(values, field, value)))
            began = time.process_time()
            try:
                model = load(path.parent)
                if model.config != own:
                    plays(part, model)
            except ValueError:
                pass
            except Exception as error:
                faults.append(f"{'.'.join(field)} {value}: {type(error).__name__} {error}"[:200])
            if (seconds := time.process_time() - began) > MOST_SECONDS:
                faults.append(f"{'.'.join(field)} {value}: {seconds:.1f} s")
    path.write_text(text)
    assert not faults, "\n".join(faults)
