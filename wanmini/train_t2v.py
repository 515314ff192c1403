"""Train the mini text-to-video models: `python -m wanmini.train_t2v --vae OUT_OF_VAE --minutes 8 --out OUT [--resume ...]`.

Both experts and the text encoder at once: every update takes a batch of captioned scenes, gives the high-noise expert
noise levels above the boundary and the low-noise one levels below it, both spread as the sampler spreads its steps, and
the text encoder learns from both. One caption in ten is dropped (empty, or the default negative prompt), so that
guidance has its second branch. It ends with the judge's verdict on held-out prompts, sampled with 20 steps.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from wan.config import T5Config, WanConfig
from wan.files.checkpoint import load_vae
from wan.modules.attention import use_backend
from wan.modules.model import WanModel
from wan.modules.t5 import T5Encoder
from wan.modules.vae import WanVAE
from wan.schedule import shifted, unipc
from wan.text import clean
from wan22.config import NEGATIVE_PROMPT, TASKS
from wanmini import sizes
from wanmini.clips import HELD_OUT, SceneSource
from wanmini.judge_scenes import read, score
from wanmini.loss_curve import draw_curve
from wanmini.scenes import Scenes, attributes, captions
from wanmini.scenes import tokenizer as scene_tokenizer
from wanmini.training import Learner, Replayed, Run, options, restore, store

TASK = TASKS["t2v-A14B"]
DROPPED = 0.1
FOLDERS = {"text": "text_encoder", "high": "high_noise_model", "low": "low_noise_model"}
CONFIGS: dict[str, T5Config | WanConfig] = {"text": sizes.T5, "high": sizes.EXPERT, "low": sizes.EXPERT}


class MiniT2V(nn.Module):
    """Text encoder and both experts."""

    def __init__(self) -> None:
        super().__init__()
        self.text = T5Encoder(sizes.T5)
        self.high, self.low = WanModel(sizes.EXPERT), WanModel(sizes.EXPERT)
        for name, parameter in self.text.named_parameters():
            if parameter.dim() > 1:  # T5 does not scale its scores: with torch's defaults they would start saturated
                nn.init.normal_(parameter, std=0.5 if "token" in name else parameter.shape[-1] ** -0.5 * 0.5)
        for expert in (self.high, self.low):
            nn.init.zeros_(expert.head.head.weight)

    def read(self, ids: Tensor) -> Tensor:
        """What the encoder makes of token ids (B, text_len); zeros behind the text, as upstream pads."""
        mask = (ids != 0).long()
        return self.text(ids, mask) * mask[..., None]

    def velocity(self, name: str, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        expert: WanModel = getattr(self, name)
        tokens, conditions, grid = expert.embed(x, t, expert.text_embedding(text.to(expert.dtype)))
        return expert.unembed(expert.transform(tokens, conditions), conditions, grid)


class Prompts:
    """Captions to padded token ids, on the device; the same ones that `wan22` makes of them."""

    def __init__(self, device: torch.device):
        self.tokenizer, self.device = scene_tokenizer.build(), device
        self.tokenizer.enable_truncation(sizes.TEXT_LEN)
        self.tokenizer.enable_padding(length=sizes.TEXT_LEN)
        self.nothing = self(["", NEGATIVE_PROMPT])

    def __call__(self, texts: list[str]) -> Tensor:
        return torch.tensor(
            [e.ids for e in self.tokenizer.encode_batch([clean(text) for text in texts])], device=self.device
        )

    def dropped(self, ids: Tensor) -> Tensor:
        empty = self.nothing[torch.randint(2, (len(ids),), device=self.device)]
        return torch.where(torch.rand(len(ids), 1, device=self.device) < DROPPED, empty, ids)


class ScenePool:
    """Encoded scenes with their captions; the oldest are replaced by new ones while training goes on."""

    def __init__(self, vae: WanVAE, source: SceneSource, prompts: Prompts, args: argparse.Namespace):
        self.vae, self.source, self.prompts, self.args = vae, source, prompts, args
        device = source.device
        latents = (vae.config.z_dim, (args.frames - 1) // 4 + 1, args.height // 8, args.width // 8)
        self.latents = torch.empty(args.pool, *latents, device=device, dtype=torch.bfloat16)
        self.ids = torch.zeros(args.pool, sizes.TEXT_LEN, device=device, dtype=torch.long)
        self.count = self.next = 0

    @torch.no_grad()
    def refresh(self) -> None:
        n = self.args.batch_drawn
        video, texts = self.source.draw(n, self.args.frames)
        place = slice(self.next, self.next + n)
        self.latents[place] = self.vae.encode(video, whole=True).to(self.latents.dtype)
        self.ids[place] = self.prompts(texts)
        self.next = (self.next + n) % self.args.pool
        self.count = min(self.count + n, self.args.pool)

    def sample(self, n: int) -> tuple[Tensor, Tensor]:
        which = torch.randint(self.count, (n,), device=self.ids.device)
        return self.latents[which].float(), self.ids[which]


def draw_sigmas(name: str, n: int, device: torch.device) -> Tensor:
    """Noise levels of one expert, as evenly over its steps as the sampler's schedule has them."""
    boundary = TASK.boundary / (TASK.sample_shift - (TASK.sample_shift - 1) * TASK.boundary)  # before the shift
    u = torch.rand(n, device=device)
    u = boundary + (1 - boundary) * u if name == "high" else boundary * u
    return shifted(u, TASK.sample_shift)


def loss_of(mini: MiniT2V, name: str, truth: Tensor, text: Tensor) -> Tensor:
    sigma = draw_sigmas(name, len(truth), truth.device)
    noise, level = torch.randn_like(truth), sigma[:, None, None, None, None]
    flow = mini.velocity(name, (1 - level) * truth + level * noise, 1000 * sigma, text)
    return (flow.float() - (noise - truth)).pow(2).mean()


@torch.no_grad()
def sample(mini: MiniT2V, prompts: Prompts, texts: list[str], shape: tuple[int, ...], steps: int = 20) -> Tensor:
    """Latents by plain Euler steps with guidance; an estimate of what the pipeline's solvers make."""
    text, nothing = mini.read(prompts(texts)), mini.read(prompts([NEGATIVE_PROMPT])).expand(len(texts), -1, -1)
    schedule = unipc(steps, TASK.sample_shift)
    x = torch.randn(len(texts), *shape, device=prompts.device)
    for t, sigma, following in zip(schedule.timesteps, schedule.sigmas, schedule.sigmas[1:]):
        name = "high" if t >= 1000 * TASK.boundary else "low"
        times = torch.full((len(x),), t, device=x.device)
        wanted, other = (mini.velocity(name, x, times, read) for read in (text, nothing))
        x = x + (following - sigma) * (other + sizes.SCENE_GUIDANCE * (wanted - other)).float()
    return x


@torch.no_grad()
def evaluate(mini: MiniT2V, vae: WanVAE, prompts: Prompts, args: argparse.Namespace) -> dict[str, float]:
    """The judge's shares of right answers on held-out prompts."""
    scores: dict[str, list[Tensor]] = {}
    shape = (vae.config.z_dim, (args.frames - 1) // 4 + 1, args.height // 8, args.width // 8)
    for first in range(HELD_OUT, HELD_OUT + args.prompts, args.batch_held_out):
        scenes = Scenes.sample(torch.arange(first, first + args.batch_held_out), held_out=True)
        latents = sample(mini, prompts, captions(scenes, held_out=True), shape)
        video = torch.cat([vae.decode(z[None], whole=True) for z in latents])
        for name, right in score(read(video), scenes.to(video.device)).items():
            scores.setdefault(name, []).append(right)
    return {name: torch.cat(values).nanmean().item() for name, values in scores.items()}


def save(out: Path, learner: Learner, steps: int, **notes: float) -> None:
    about = {"steps": str(steps), "data": f"scenes of the training split, seeds below {HELD_OUT}"}
    about |= {key: f"{value:.4f}" for key, value in notes.items()}
    for part, folder in FOLDERS.items():
        store(out / folder, learner.averaged(part + "."), CONFIGS[part], about)
    (out / "tokenizer").mkdir(exist_ok=True)
    scene_tokenizer.save(out / "tokenizer" / "tokenizer.json")


def load(mini: MiniT2V, folder: Path) -> int:
    return [restore(getattr(mini, part), folder / name) for part, name in FOLDERS.items()][0]


def averaged(learner: Learner, device: torch.device, dtype: torch.dtype) -> MiniT2V:
    mini = MiniT2V()
    mini.load_state_dict(learner.averaged())
    return mini.to(device, dtype)


def train(args: argparse.Namespace) -> dict[str, float]:
    device, dtype = torch.device(args.device), torch.bfloat16 if args.device.startswith("cuda") else torch.float32
    run = Run(args.out, "train_t2v", args.minutes)
    torch.manual_seed(args.seed)
    mini = MiniT2V()
    first = load(mini, args.resume) if args.resume else 0
    mini.to(device, dtype)
    if args.compile:
        for block in (*mini.high.blocks, *mini.low.blocks):  # one program for all: they differ in weights alone
            block.compile(dynamic=False)
    use_backend("sdpa", device)  # the one that torch.compile sees through
    vae = load_vae(args.vae / "vae", device=device, dtype=dtype)
    prompts, learner = Prompts(device), Learner(mini, run, args.rate, args.last)
    source = SceneSource(args.seed * 10_000_000, device, (args.height, args.width))
    pool = ScenePool(vae, source, prompts, args)
    for _ in range(args.pool_at_start // args.batch_drawn):
        pool.refresh()

    def update(truth: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        text = mini.read(ids)
        high, low = (loss_of(mini, name, truth, text) for name in ("high", "low"))
        norm = learner.step(high + low)
        return high.detach(), low.detach(), norm

    replayed = Replayed(update, args.graphs)
    step = first
    for step in run.steps(first, args.steps):
        if step % args.refresh_every == 0:
            pool.refresh()
        truth, ids = pool.sample(args.batch)
        learner.tick()
        high, low, norm = replayed(truth, prompts.dropped(ids))
        if step % args.note_every == 0:
            run.note(step, high=high, low=low, gradient=norm)
        if run.time_to_save():
            save(args.out, learner, step + 1, high=high.item(), low=low.item())
    save(args.out, learner, step + 1, high=high.item(), low=low.item())
    found = evaluate(averaged(learner, device, dtype), vae, prompts, args)
    run.note(step, **found)
    draw_curve([run.journal], run.out / "train_t2v.png", ("high", "low"))
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--vae", type=Path, required=True, help="folder that train_vae left")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--last", type=float, default=0.1, help="share of the rate at the end of the run")
    parser.add_argument("--refresh_every", type=int, default=6, help="updates between batches of new scenes")
    parser.add_argument("--prompts", type=int, default=96, help="held-out prompts at the end")
    args = parser.parse_args()
    args.height, args.width, args.frames, args.note_every = sizes.HEIGHT, sizes.WIDTH, attributes.FRAMES, 50
    args.pool, args.pool_at_start, args.batch_drawn, args.batch_held_out = 16384, 1024, 16, 16
    if args.smoke:
        args.batch, args.steps, args.note_every, args.height, args.width, args.frames = 2, 3, 1, 48, 80, 9
        args.pool, args.pool_at_start, args.batch_drawn, args.batch_held_out, args.prompts = 8, 4, 4, 2, 2
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(args)


if __name__ == "__main__":
    main()
