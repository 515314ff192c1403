"""A whole Matrix-Game rollout past eviction: single forwards inside it, the forward without a cache, the latents.

The latents twice: in a loop written out here, which stops at every forward to compare it, and from wan.game.rollout.
"""

import itertools
import json

import torch

from tests.golden.golden_file import GoldenFile, assert_close
from wan.config import CausalConfig, VAEConfig, from_dict
from wan.fast.engine import Engine
from wan.game.actions import Action
from wan.game.conditions import ImageCondition
from wan.game.modes import Key, Mode
from wan.game.rollout import Sampling, World, rollout
from wan.modules.causal_model import CausalWanModel
from wan.modules.vae import WanVAE
from wan.schedule import few_step, renoise, x0_from_flow

# Same float32 operations in another order (ring instead of rolled cache, rope in float32 instead of complex128).
FORWARD = 1e-5
# The rollout feeds its own output back through a dozen blocks of forwards, which multiplies rounding.
ROLLOUT = 5e-5


@torch.no_grad()
def check(golden: GoldenFile) -> None:
    model = CausalWanModel(from_dict(CausalConfig, golden.config)).eval()
    model.load_state_dict(golden.weights(), strict=True)
    model.num_frame_per_block = int(golden.meta["num_frame_per_block"])
    check_uncached(golden, model)
    check_rollout(golden, model)
    check_game_rollout(golden, model)


def conditions(golden: GoldenFile, start: int, frames: int) -> dict:
    seen = 1 + 4 * (start + frames - 1)
    return {
        "visual_context": golden["in/visual_context"],
        "cond_concat": golden["in/cond_concat"][:, :, start : start + frames],
        "mouse_cond": golden["in/mouse"][:, :seen] if "in/mouse" in golden else None,
        "keyboard_cond": golden["in/keyboard"][:, :seen],
    }


def check_uncached(golden: GoldenFile, model: CausalWanModel) -> None:
    t = golden["in/train_t"]
    x, frames = golden["in/noise"], t.shape[1]
    flow = model(x[:, :, :frames], t, **conditions(golden, 0, frames))
    assert_close("train_flow", flow, golden["out/train_flow"], FORWARD)


def check_rollout(golden: GoldenFile, model: CausalWanModel) -> None:
    meta, noise = golden.meta, golden["in/noise"]
    block = model.num_frame_per_block
    steps = few_step(json.loads(meta["denoising_step_list"]), float(meta["timestep_shift"]))
    assert_close("timesteps", torch.tensor(steps.timesteps), golden["out/denoising_timesteps"], 1e-6)
    cache = model.new_cache(1, *noise.shape[3:], block)
    forwards = {int(golden[n]): n.removesuffix("call") for n in golden.names("out/forward") if n.endswith("/call")}
    renoising, calls, latents = iter(golden["in/renoise"]), 0, []
    for start in range(0, noise.shape[2], block):
        x, given = noise[:, :, start : start + block], conditions(golden, start, block)
        for i, (timestep, sigma) in enumerate(zip(steps.timesteps, steps.sigmas, strict=True)):
            flow = model(x, torch.full((1, block), timestep), **given, cache=cache, start_frame=start)
            compare(golden, forwards.get(calls), x, flow, start)
            calls += 1
            x0 = x0_from_flow(flow, x, sigma)
            if i + 1 < len(steps.timesteps):
                x = renoise(x0, next(renoising)[None], steps.sigmas[i + 1])
        t = torch.full((1, block), float(meta["context_noise"]))
        flow = model(x0, t, **given, cache=cache, start_frame=start)
        compare(golden, forwards.get(calls), x0, flow, start)
        calls += 1
        latents.append(x0)
    assert_close("latents", torch.cat(latents, dim=2), golden["out/latents"], ROLLOUT)


def compare(golden: GoldenFile, name: str | None, x: torch.Tensor, flow: torch.Tensor, start: int) -> None:
    if name is None:
        return
    assert int(golden[name + "start_frame"]) == start
    assert_close(name + "x", x, golden[name + "x"], ROLLOUT)
    assert_close(name + "flow", flow, golden[name + "flow"], ROLLOUT)


class RecordedNoise:
    """What the official rollout drew: each block's own noise, then that of its re-noisings."""

    def __init__(self, golden: GoldenFile, block: int, steps: int):
        renoising = iter(golden["in/renoise"])
        self.order = (
            noise
            for fresh in golden["in/noise"].split(block, dim=2)
            for noise in (fresh, *(again[None] for again in itertools.islice(renoising, steps - 1)))
        )

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        noise = next(self.order)
        assert noise.shape == shape
        return noise


def recorded_mode(golden: GoldenFile) -> Mode:
    """A letter for each column, whatever their number, so that recorded rows can be said as actions."""
    columns = golden["in/keyboard"].shape[2]
    keys = tuple(Key(chr(ord("A") + i), "", column=i) for i in range(columns))
    return Mode(golden.meta["mode"], keys, columns, "in/mouse" in golden, rests={}, opposed=(), walk=())


def recorded_actions(golden: GoldenFile, mode: Mode) -> list[Action]:
    keyboard = golden["in/keyboard"][0].tolist()
    mouse = golden["in/mouse"][0].tolist() if mode.has_mouse else [(0.0, 0.0)] * len(keyboard)
    held = ["".join(key.letter for key, lit in zip(mode.keys, row, strict=True) if lit) for row in keyboard]
    return [Action(keys, tuple(turn)) for keys, turn in zip(held, mouse, strict=True)]


def check_game_rollout(golden: GoldenFile, model: CausalWanModel) -> None:
    meta, noise, mode = golden.meta, golden["in/noise"], recorded_mode(golden)
    actions = recorded_actions(golden, mode)
    sampling = Sampling(
        denoising_step_list=tuple(json.loads(meta["denoising_step_list"])),
        timestep_shift=float(meta["timestep_shift"]),
        num_frame_per_block=model.num_frame_per_block,
        context_noise=float(meta["context_noise"]),
    )
    recorded = RecordedNoise(golden, sampling.num_frame_per_block, len(sampling.denoising_step_list))
    decoder = WanVAE(VAEConfig(dim=4, num_res_blocks=1)).eval()  # its frames are not looked at
    condition = ImageCondition(golden["in/visual_context"], golden["in/cond_concat"])
    world = World(mode, Engine(model), decoder, condition, recorded, sampling)
    blocks = rollout(
        world, lambda frames: [actions[frames.start : frames.stop]], noise.shape[2] // model.num_frame_per_block
    )
    assert_close("rollout", torch.cat([b.latents for b in blocks], dim=2), golden["out/latents"], ROLLOUT)
