"""Two experts and all steps of each solver, guided: the whole denoising loop of the official pipeline, every flag off."""

import re
from dataclasses import replace
from unittest.mock import patch

from tests.golden.golden_file import GoldenFile, assert_close
from wan.config import WanConfig, from_dict
from wan.modules.model import WanModel
from wan22.config import TASKS, Request
from wan22.pipeline import VideoConditions, denoise
from wan22.plan import plan

# float32 all through; guidance and 20 steps of feeding the result back enlarge rounding a little
TOLERANCE = 5e-6


class Loaded:
    """The experts of a file, as the pipeline asks for them."""

    def __init__(self, golden: GoldenFile, config: WanConfig):
        self.models = {}
        for name in ("high", "low"):
            self.models[name] = WanModel(config).eval()
            self.models[name].load_state_dict(golden.weights(f"weights_{name}/"))

    def get(self, expert: str) -> WanModel:
        return self.models[expert]


def check(golden: GoldenFile) -> None:
    config = from_dict(WanConfig, golden.config)
    experts, noise = Loaded(golden, config), golden["in/noise"][None]
    y = golden["in/y"][None] if "in/y" in golden else None
    conditions = VideoConditions(golden["in/context"], golden["in/context_null"], y)
    task = replace(TASKS["t2v-A14B"], model=config, boundary=float(golden.meta["boundary"]))
    for solver in ("unipc", "dpm++"):
        with patch.dict(TASKS, golden=task):
            steps = plan(request_of(golden, solver))
        assert [s.timestep for s in steps] == golden[f"out/{solver}/timesteps"].tolist()
        done = list(denoise(steps, experts, noise, conditions, solver))
        for i, want in zip(saved_after(golden), golden[f"out/{solver}/trajectory"], strict=True):
            assert_close(f"{solver} after step {i}", done[i - 1].latents[0], want, TOLERANCE)


def saved_after(golden: GoldenFile) -> list[int]:
    """The file says in words after which steps it kept the latents."""
    words = re.search(r"after steps ([\d, and]+)", golden.meta["note"])
    assert words, golden.meta["note"]
    return [int(n) for n in re.findall(r"\d+", words[1])]


def request_of(golden: GoldenFile, solver: str) -> Request:
    meta, (_, latent_frames, rows, columns) = golden.meta, golden["in/noise"].shape
    return Request(
        task="golden",
        size=f"{columns * 8}*{rows * 8}",
        any_size=True,
        frame_num=1 + 4 * (latent_frames - 1),
        sample_steps=int(meta["steps"]),
        sample_shift=float(meta["shift"]),
        sample_solver=solver,
        sample_guide_scale=(float(meta["guide_low"]), float(meta["guide_high"])),
    )
