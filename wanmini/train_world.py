"""Train the mini world: `python -m wanmini.train_world --vae OUT_OF_VAE --minutes 8 --out OUT [--resume OUT_BEFORE]`.

Stage 1 (the default) is flow matching with teacher forcing, behind a past that is sometimes a little noisy. Stage 2
(`--own 0.7`) puts the model's own frames in the place of the past: they are made by denoising the truth from an
inference step on, block behind block, so they carry the model's blemishes but not a different world, and the target
stays right. Noise levels are drawn from all, and half of the time from those that inference uses. Stage 3 (`--teacher RUN`)
learns to do in inference's steps what the teacher does in many; see `wanmini.distil`. It ends with a rollout in held-out
maps beside the renderer.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from wan.files.checkpoint import load_vae
from wan.latents import video_frames
from wan.modules.attention import use_backend
from wan.modules.causal_model import CausalWanModel
from wan.modules.clip import CLIPVision
from wan.modules.vae import WanVAE
from wan.schedule import Schedule, few_step, shifted
from wanmini import sizes
from wanmini.clips import HELD_OUT, WorldSource
from wanmini.distil import Walker, lessons
from wanmini.judge_world import contrast, sharpness
from wanmini.loss_curve import draw_curve
from wanmini.own_rollout import own_latents
from wanmini.teacher_forcing import Given, Passes, teacher_forced
from wanmini.training import Learner, Replayed, Run, options, psnr, restore, store
from wanmini.world.render import shade
from wanmini.world_pool import WorldPool, encode, picture

SHIFT = 3.0  # of the noise levels drawn from all
PAST_NOISE = 0.1  # the most that is added to a true past
OWN_BATCHES = 4  # batches of own pasts made together: it is many small steps, which cost the same for more clips


Batch = dict[str, Tensor]


class MiniWorld(nn.Module):
    """The two networks that are trained together; the vision tower learns through the causal model."""

    def __init__(self) -> None:
        super().__init__()
        self.causal = CausalWanModel(sizes.CAUSAL)
        self.clip = CLIPVision(sizes.CLIP)
        for parameter in (self.clip.cls_embedding, self.clip.pos_embedding):
            nn.init.normal_(parameter, std=0.02)
        nn.init.zeros_(self.causal.head.head.weight)

    def given(self, batch: Batch) -> Given:
        visual = self.clip.encode(picture(batch["image"]))
        return Given(visual, batch["concat"], batch["mouse"], batch["keyboard"])


def draw_sigmas(n: int, blocks: int, schedule: Schedule, device: torch.device) -> Tensor:
    """A noise level for each block, (n, frames): half of them from the steps of inference."""
    anywhere = shifted(torch.rand(n, blocks, device=device), SHIFT)
    steps = torch.tensor(schedule.sigmas, device=device)
    listed = steps[torch.randint(len(steps), (n, blocks), device=device)]
    chosen = torch.where(torch.rand(n, blocks, device=device) < 0.5, anywhere, listed)
    return chosen.repeat_interleave(sizes.BLOCK, 1)


def roughened(latents: Tensor) -> Tensor:
    """A past as it might be: half of the clips as they are, the others with up to PAST_NOISE of noise."""
    level = PAST_NOISE * torch.rand(len(latents), 1, 1, 1, 1, device=latents.device).mul(2).sub(1).clamp(min=0)
    return (1 - level) * latents + level * torch.randn_like(latents)


@dataclass(frozen=True)
class Lesson:
    """What one update learns from: a past, noisy latents behind it, and the flow they should be given."""

    batch: Batch
    past: Tensor
    noisy: Tensor
    flow: Tensor
    sigma: Tensor  # (B, F)

    def values(self) -> tuple[Tensor, ...]:
        return self.past, self.noisy, self.flow, self.sigma, *self.batch.values()


def losses(
    world: MiniWorld, past: Tensor, noisy: Tensor, flow: Tensor, sigma: Tensor, batch: Batch, passes: Passes
) -> tuple[Tensor, Tensor]:
    """Mean squared error of the flow, and of the clean latents it points at."""
    dtype = world.causal.dtype
    predicted = teacher_forced(world.causal, past.to(dtype), noisy.to(dtype), 1000 * sigma, world.given(batch), passes)
    error = predicted.float() - flow
    return error.pow(2).mean(), (sigma[:, None, :, None, None] * error).pow(2).mean()


class Pasts:
    """What stands in the place of the past: the truth, or the model's own version of it."""

    def __init__(self, world: MiniWorld, pool: WorldPool, args: argparse.Namespace, schedule: Schedule):
        self.world, self.pool, self.args, self.schedule = world, pool, args, schedule
        self.made: list[tuple[Batch, Tensor]] = []
        self.rollouts = [Replayed(self._own_from(first), args.graphs) for first in range(len(schedule.sigmas))]

    def next(self) -> tuple[Batch, Tensor]:
        if random.random() >= self.args.own:
            batch = self.pool.sample(self.args.batch)
            return batch, roughened(batch["latents"])
        if not self.made:
            batch = self.pool.sample(OWN_BATCHES * self.args.batch)
            (latents,) = self.rollouts[self._first_step()](*batch.values())
            parts = zip(*(values.split(self.args.batch) for values in (*batch.values(), latents.clone())))
            self.made = [(dict(zip(batch, part)), part[-1]) for part in parts]
        return self.made.pop()

    def _own_from(self, first: int) -> Callable[..., tuple[Tensor, ...]]:
        def rollout(*values: Tensor) -> tuple[Tensor, ...]:
            batch = self.pool.named(*values)
            with torch.no_grad():
                given = self.world.given(batch)
                return (own_latents(self.world.causal, batch["latents"], given, self.schedule, first),)

        return rollout

    def _first_step(self) -> int:
        """Mostly from the truth under the noise of a later step; now and then from nothing but noise."""
        return 0 if random.random() < self.args.own_freely else random.randrange(1, len(self.schedule.sigmas))


def from_truth(pasts: Pasts, schedule: Schedule) -> Iterator[Lesson]:
    """Flow matching: the truth under noise."""
    while True:
        batch, past = pasts.next()
        truth = batch["latents"].float()
        sigma = draw_sigmas(len(truth), truth.shape[2] // sizes.BLOCK, schedule, truth.device)
        noise, level = torch.randn_like(truth), sigma[:, None, :, None, None]
        yield Lesson(batch, past, (1 - level) * truth + level * noise, noise - truth, sigma)


def from_teacher(
    pasts: Pasts, schedule: Schedule, teacher: MiniWorld, walker: Walker, graphs: bool
) -> Iterator[Lesson]:
    """Distillation: where the teacher arrives, each walk used for every step."""

    def walk(past: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        return walker.walk(teacher.causal, past.to(teacher.causal.dtype), teacher.given(pasts.pool.named(*values)))

    walked = Replayed(torch.no_grad()(walk), graphs)
    while True:
        batch, past = pasts.next()
        begun, end = walked(past, *batch.values())
        for noisy, flow, sigma in lessons(begun, end, schedule.sigmas):
            yield Lesson(batch, past, noisy, flow, sigma)


@torch.no_grad()
def evaluate(world: MiniWorld, vae: WanVAE, args: argparse.Namespace, schedule: Schedule) -> dict[str, float]:
    """Rollouts in held-out maps: PSNR over the first 3 blocks and over all, and of the VAE alone, the ceiling; contrast
    and sharpness of the last block, as shares of the real ones."""
    source = WorldSource(HELD_OUT, torch.device(args.device), (args.height, args.width))
    frames = sizes.BLOCK * args.blocks
    clips = source.draw(args.batch_held_out, video_frames(frames))
    batch = encode(vae, clips, frames)
    latents = own_latents(world.causal, batch["latents"], world.given(batch), schedule)
    video, ceiling = (
        torch.cat([vae.decode(clip[None].to(vae.conv1.weight.dtype), whole=True) for clip in z])
        for z in (latents, batch["latents"])
    )
    first, late = video_frames(3 * sizes.BLOCK), slice(-4 * sizes.BLOCK, None)
    return {
        "psnr_3_blocks": psnr(video[:, :, :first].clamp(-1, 1), clips.video[:, :, :first]).mean().item(),
        "psnr_all_blocks": psnr(video.clamp(-1, 1), clips.video).mean().item(),
        "psnr_vae": psnr(ceiling.clamp(-1, 1), clips.video).mean().item(),
        "last_contrast": (contrast(video[:, :, late]) / contrast(clips.video[:, :, late])).item(),
        "last_sharpness": (sharpness(video[:, :, late].float()) / sharpness(clips.video[:, :, late])).item(),
    }


def save(run: Run, learner: Learner, steps: int, **notes: float | Tensor) -> None:
    about = {"steps": str(steps), "data": f"walks, seeds below {HELD_OUT}"}
    about |= {key: f"{float(value):.4f}" for key, value in notes.items()}
    store(run.out / "base_distilled_model", learner.averaged("causal."), sizes.CAUSAL, about)
    store(run.out / "image_encoder", learner.averaged("clip."), sizes.CLIP, about)


def averaged(learner: Learner, device: torch.device, dtype: torch.dtype) -> MiniWorld:
    world = MiniWorld()
    world.load_state_dict(learner.averaged())
    return world.to(device, dtype)


def load_world(folder: Path, device: torch.device, dtype: torch.dtype) -> MiniWorld:
    world = MiniWorld()
    load(world, folder)
    return world.to(device, dtype).requires_grad_(False)


def load(world: MiniWorld, folder: Path) -> int:
    restore(world.clip, folder / "image_encoder")
    return restore(world.causal, folder / "base_distilled_model")


def train(args: argparse.Namespace) -> dict[str, float]:
    device, dtype = torch.device(args.device), torch.bfloat16 if args.device.startswith("cuda") else torch.float32
    run = Run(args.out, "train_world", args.minutes)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    world = MiniWorld()
    first = load(world, args.resume) if args.resume else 0
    world.to(device, dtype)
    use_backend("sdpa", device)  # the one that torch.compile sees through, and that has masks and gradients
    vae = load_vae(args.vae / "vae", device=device, dtype=dtype)
    schedule = few_step(args.denoising_steps, sizes.SHIFT)
    learner = Learner(world, run, args.rate, args.last)
    shader = torch.compile(shade, dynamic=False) if args.compile else shade
    source = WorldSource(args.seed * 10_000_000, device, (args.height, args.width), shader)
    pool = WorldPool(vae, source, args.pool, args.batch_drawn, sizes.BLOCK * args.blocks)
    for _ in range(args.pool_at_start // args.batch_drawn):
        pool.refresh()
    pasts = Pasts(world, pool, args, schedule)
    passes = Passes(args.compile)
    source_of_lessons = from_truth(pasts, schedule)
    if args.teacher:
        walker = Walker(tuple(args.denoising_steps), args.teacher_steps // len(args.denoising_steps), passes)
        source_of_lessons = from_teacher(pasts, schedule, load_world(args.teacher, device, dtype), walker, args.graphs)

    def update(*values: Tensor) -> tuple[Tensor, ...]:
        past, noisy, flow, sigma, *rest = values
        loss, clean = losses(world, past, noisy, flow, sigma, pool.named(*rest), passes)
        return loss.detach(), clean.detach(), learner.step(loss)

    replayed = Replayed(update, args.graphs)
    step = first
    for step, lesson in zip(run.steps(first, args.steps), source_of_lessons):
        if step % args.refresh_every == 0:
            pool.refresh()
        learner.tick()
        loss, clean, norm = replayed(*lesson.values())
        if step % args.note_every == 0:
            run.note(step, loss=loss, clean=clean, gradient=norm)
        if run.time_to_save():
            save(run, learner, step + 1, loss=loss)
    save(run, learner, step + 1, loss=loss)
    found = evaluate(averaged(learner, device, dtype), vae, args, schedule)
    run.note(step, **found)
    draw_curve([run.journal], run.out / "train_world.png", ("loss", "clean", "gradient"))
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--vae", type=Path, required=True, help="folder that train_vae left")
    parser.add_argument("--own", type=float, default=0.0, help="share of updates behind the model's own past (stage 2)")
    parser.add_argument("--own_freely", type=float, default=0.2, help="share of own pasts begun from nothing but noise")
    parser.add_argument("--teacher", type=Path, help="run of stage 1 or 2 whose walks are learned from (stage 3)")
    parser.add_argument("--teacher_steps", type=int, default=12, help="of a walk; a multiple of the denoising steps")
    parser.add_argument("--blocks", type=int, default=7, help="length of clips")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--last", type=float, default=0.1, help="share of the rate at the end of the run")
    parser.add_argument("--denoising_steps", type=int, nargs="+", default=sizes.DENOISING_STEPS)
    parser.add_argument("--refresh_every", type=int, default=20, help="updates between batches of new walks")
    args = parser.parse_args()
    args.height, args.width, args.note_every = sizes.HEIGHT, sizes.WIDTH, 50
    args.pool, args.pool_at_start, args.batch_drawn, args.batch_held_out = 4096, 768, 16, 16
    if args.smoke:
        args.blocks, args.batch, args.steps, args.note_every, args.height, args.width = 3, 2, 4, 1, 32, 48
        args.pool, args.pool_at_start, args.batch_drawn, args.batch_held_out = 8, 4, 4, 2
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(args)


if __name__ == "__main__":
    main()
