"""What a student learns from its teacher: for each of its few steps, where the teacher's many steps lead from there.

A model trained to denoise answers with the mean of all clean clips that fit, and a few steps of renoised means end well
inside the cloud of real ones: the spread of what is made up comes out at half of what it should be, which looks pale.
Following the flow in many small steps has the right spread but costs as many forwards. So the student is shown noise
from which the teacher walked the flow, and learns to jump to where it arrived: a sample, not a mean. The truth is not
needed, and the past may be anything a rollout comes to.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from wan.modules.causal_model import CausalWanModel
from wan.schedule import few_step
from wanmini import sizes
from wanmini.teacher_forcing import Given, Passes, flow_behind, past_of


class Walker:
    """Follows a teacher's flow from noise to clean latents, `each` steps between two of `denoising_steps`."""

    def __init__(self, denoising_steps: tuple[int, ...], each: int, passes: Passes):
        ends = itertools.pairwise((*denoising_steps, 0))
        listed = [first + (last - first) * i / each for first, last in ends for i in range(each)]
        self.schedule, self.each, self.passes = few_step(listed, sizes.SHIFT), each, passes

    @torch.no_grad()
    def walk(self, teacher: CausalWanModel, past: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        """From noise, every block behind the latents `past` of the block before: where each of the student's steps would
        begin, (steps, B, 16, F, h, w), and the clean latents at the end, in float32."""
        timesteps, sigmas = self.schedule.timesteps, (*self.schedule.sigmas, 0.0)
        kept = past_of(teacher, past, given, self.passes)
        x = torch.randn(past.shape, device=past.device)
        begun = []
        for i, t in enumerate(timesteps):
            if i % self.each == 0:
                begun.append(x)
            times = torch.full((x.shape[0], x.shape[2]), t, device=x.device)
            flow = flow_behind(teacher, kept, x.to(teacher.dtype), times, given, self.passes)
            x = x + (sigmas[i + 1] - sigmas[i]) * flow.float()
        return torch.stack(begun), x


def lessons(begun: Tensor, end: Tensor, sigmas: tuple[float, ...]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(noisy, flow to the end, sigma (B, F)) for as many updates as there are steps; each block gets every step once."""
    steps, n, frames = len(begun), end.shape[0], end.shape[2]
    level = torch.tensor(sigmas, device=end.device)
    first = torch.randint(steps, (n, frames // sizes.BLOCK), device=end.device)
    made = []
    for turn in range(steps):
        step = ((first + turn) % steps).repeat_interleave(sizes.BLOCK, 1)  # (B, F)
        where = step[None, :, None, :, None, None].expand(1, *end.shape)
        noisy, sigma = begun.gather(0, where)[0], level[step]
        made.append((noisy, (noisy - end) / sigma[:, None, :, None, None], sigma))
    return made
