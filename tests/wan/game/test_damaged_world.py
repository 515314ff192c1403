"""A save point is checked whole before any of it is used: whatever is damaged in it is one sentence that names the file."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.wan.game.test_rollout import begin
from wan.game.modes import UNIVERSAL
from wan.game.rollout import rollout, scripted
from wan.game.savepoint import load_world, save_world
from wan.game.scripts import parse_text
from wanmini.random_world import random_world


@pytest.fixture(scope="module")
def models():
    return random_world()


@pytest.fixture(scope="module")
def saved(models, tmp_path_factory):
    """What is in a good one: of a world two blocks old, which is past none of its windows."""
    path = tmp_path_factory.mktemp("good") / "world.safetensors"
    world = begin(models)
    list(rollout(world, scripted([parse_text("WL*99", UNIVERSAL)]), 2))
    save_world(path, world)
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict


def names(saved):
    return [name for name in sorted(saved[1]) if not name.startswith("decoder/")] + [
        name for name in sorted(saved[1]) if name.startswith("decoder/")
    ][:2]


TENSORS = {
    "missing": lambda t: None,
    "shorter": lambda t: t[:0] if t.dim() else None,
    "wider": lambda t: torch.stack([t, t]),
    "turned": lambda t: t.transpose(0, -1).contiguous() if t.dim() > 1 and t.shape[0] != t.shape[-1] else t[None],
    "words": lambda t: t.to(torch.int32) if t.dtype != torch.int32 else t.float(),
    "not finite": lambda t: torch.full_like(t, float("nan")) if t.is_floating_point() else t + 100,
}


@pytest.mark.parametrize("damage", TENSORS)
def test_a_damaged_tensor(models, saved, tmp_path, damage):
    meta, tensors = saved
    path = tmp_path / "world.safetensors"
    for name in names(saved):
        changed = TENSORS[damage](tensors[name])
        if changed is not None and changed.dtype == torch.bool:
            changed = ~tensors[name]
        save_file({key: t for key, t in (tensors | {name: changed}).items() if t is not None}, path, meta)
        with pytest.raises(ValueError, match="world.safetensors is a damaged save point") as caught:
            load_world(path, models)
        assert "\n" not in str(caught.value)


def test_a_state_that_is_no_generators(models, saved, tmp_path):
    meta, tensors = saved
    save_file(tensors | {"noise": torch.full_like(tensors["noise"], 255)}, tmp_path / "world.safetensors", meta)
    with pytest.raises(ValueError, match="noise is the state of no generator"):
        load_world(tmp_path / "world.safetensors", models)


GOOD = {"denoising_step_list": [1000, 500], "timestep_shift": 5.0, "num_frame_per_block": 3}
HEADS = {
    "block": [None, "", "-1", "1.5", "x", "null", "[2]", "3", "9" * 5000, "1" + "0" * 30],
    "sampling": [
        None, "", "3", "[]", "null", "{", "[" * 10**5,
        *(json.dumps(GOOD | change) for change in (
            {"timestep_shift": 0}, {"timestep_shift": float("nan")}, {"timestep_shift": "x"}, {"num_frame_per_block": 0},
            {"num_frame_per_block": 2}, {"num_frame_per_block": 10**9}, {"denoising_step_list": []}, {"denoising_step_list": 3},
            {"denoising_step_list": [0]}, {"denoising_step_list": [1000] * 2000}, {"context_noise": float("inf")}, {"more": 1},
        )),
    ],
    "note": [None, "", "3", "[]", "{"],
    "mode": [None, "", "doom"],
    "weights": [None, "", "x"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in HEADS.items() for v in values])
def test_a_damaged_head(models, saved, tmp_path, name, value):
    meta, tensors = saved
    path = tmp_path / "world.safetensors"
    save_file(tensors, path, {key: text for key, text in (meta | {name: value}).items() if text is not None})
    with pytest.raises(ValueError, match="world.safetensors") as caught:
        load_world(path, models)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_a_world_of_another_decoder(models, saved, tmp_path):
    meta, tensors = saved
    save_file(tensors | {"decoder/other": torch.zeros(1)}, tmp_path / "world.safetensors", meta)
    with pytest.raises(ValueError, match="other is not one of this decoder's"):
        load_world(tmp_path / "world.safetensors", models)


def test_a_damaged_world_ends_none_that_plays(models, saved, tmp_path):
    meta, tensors = saved
    world = begin(models)
    save_file(tensors, tmp_path / "world.safetensors", meta | {"block": "7"})
    with pytest.raises(ValueError, match="is at latent frame 3, and the world before block 7"):
        load_world(tmp_path / "world.safetensors", models)
    world.commit()
    assert next(rollout(world, scripted([parse_text("W*9", UNIVERSAL)]))).span.block == 0
