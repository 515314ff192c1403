"""A batch of clips generated block by block in latents, with the model's own caches: for training and quick evaluation.

The user-facing rollout (wan.game.rollout) draws noise on the host and decodes as it goes; this one stays on the device.
It may begin a block from the truth with noise on it instead of from noise alone. What comes out then has the content of
the truth and the blemishes of the model: a past to train on that does not contradict what follows.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from wan.modules.causal_model import CausalWanModel
from wan.schedule import Schedule, renoise, x0_from_flow
from wanmini.teacher_forcing import Given


class OwnRollout:
    def __init__(self, model: CausalWanModel, given: Given):
        self.model, self.given = model, given
        batch, _, _, height, width = given.concat.shape
        self.cache = model.new_cache(batch, height, width)

    def flow(self, block: int, x: Tensor, t: float) -> Tensor:
        n, given = self.model.num_frame_per_block, self.given
        frames = slice(n * block, n * block + n)
        seen = 1 + 4 * (frames.stop - 1)
        actions = given.mouse[:, :seen].to(x.dtype), given.keyboard[:, :seen].to(x.dtype)
        times = torch.full((x.shape[0], n), t, device=x.device)
        concat = given.concat[:, :, frames].to(x.dtype)
        return self.model(x, times, given.visual, concat, *actions, cache=self.cache, start_frame=frames.start)

    def denoise(self, block: int, x: Tensor, schedule: Schedule, first: int = 0) -> Tensor:
        """From x at the noise level of step `first` to clean latents, and on into the caches."""
        steps = list(zip(schedule.timesteps, schedule.sigmas, strict=True))[first:]
        for (t, sigma), (_, following) in itertools.pairwise(steps):
            x = renoise(x0_from_flow(self.flow(block, x, t), x, sigma), torch.randn_like(x), following)
        t, sigma = steps[-1]
        x = x0_from_flow(self.flow(block, x, t), x, sigma)
        self.flow(block, x, 0.0)
        return x


@torch.no_grad()
def own_latents(model: CausalWanModel, truth: Tensor, given: Given, schedule: Schedule, first: int = 0) -> Tensor:
    """The model's version of `truth` (B, 16, F, h, w), each block begun at the noise level of step `first`."""
    rollout = OwnRollout(model, given)
    out = []
    for block, latents in enumerate(truth.to(model.dtype).split(model.num_frame_per_block, 2)):
        x = renoise(latents, torch.randn_like(latents), schedule.sigmas[first])
        out.append(rollout.denoise(block, x, schedule, first))
    return torch.cat(out, 2)
