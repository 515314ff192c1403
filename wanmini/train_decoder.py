"""Teach the VAE's decoder one kind of picture: `python -m wanmini.train_decoder --data walks|scenes --resume RUN --out OUT`.

The encoder is left as it is, and so are the latents: models trained on them keep fitting, and a decoder may be trained
while they are. Both minis read the same encoder's latents; each has a decoder that spends all of itself on its own
pictures. Scenes are seen through windows around their objects for a moment, which are what matters in them and little of
the whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.config import VAEConfig
from wan.modules.vae import WanVAE
from wanmini import sizes
from wanmini.clips import HELD_OUT, MirroredWalks, SceneSource, WorldSource
from wanmini.judge_scenes import read, score
from wanmini.loss_curve import draw_curve
from wanmini.scenes import Scenes, attributes
from wanmini.training import Learner, Replayed, Run, options, psnr, restore, store
from wanmini.world.render import shade

FRAMES = {"walks": 45, "scenes": attributes.FRAMES}
WINDOW = (6, 8, 10)  # latent frames, rows and columns of a scene that are decoded
RUN_UP = 5  # frames of a window that begins later than its scene: decoded for what they leave behind, not judged
RIM = 8  # pixels of a window that are not judged either, where the picture goes on beyond them
ANYWHERE = 0.25  # share of windows that are not around an object; and of those that begin with their scene
ROUGH = 0.15  # the most noise in latents, of their spread: those that a model makes are not those of an encoder
WINDOWS = 8  # of each scene before the next: drawing and encoding one costs as much as several updates
VIVID = 0.4  # hue of what is an object of a scene, and not its backdrop
OBJECT_WEIGHT = 4.0  # of a pixel of an object, beside 1 of the backdrop
EDGE_WEIGHT = 0.5  # differences between neighbours in x, y and time
PATCH = 8


def losses(
    vae: WanVAE, latents: Tensor, video: Tensor, weight: Tensor, judged: Tensor, energy: float
) -> tuple[Tensor, Tensor]:
    """Total loss and squared error of decoded latents, over what is judged, (n, 1, t, h, w)."""
    out = torch.where(judged, vae.decode(latents, whole=True).float(), video)
    error = out - video
    edges = sum(error.diff(dim=d).abs().mean() for d in (2, 3, 4))
    square = error.pow(2).mean()
    near = (weight * (error.abs() + 2 * error.pow(2))).mean()
    return near + EDGE_WEIGHT * edges + energy * energy_error(out, video), square


def energy_error(out: Tensor, video: Tensor) -> Tensor:
    return (edge_energy(out) - edge_energy(video)).abs().mean()


def edge_energy(video: Tensor) -> Tensor:
    """Root mean square of the differences between neighbours in each patch: (n, t, rows, columns)."""
    x = video.transpose(1, 2).flatten(0, 1)
    square = x.diff(dim=-1)[..., :-1, :].pow(2) + x.diff(dim=-2)[..., :, :-1].pow(2)
    mean = F.avg_pool2d(square.mean(1, keepdim=True), PATCH, ceil_mode=True)
    return (mean + 1e-5).sqrt().unflatten(0, (len(video), -1))[:, :, 0]


class DecoderData:
    """Clips with the latents of a frozen encoder: (latents, video, weight of each pixel, what is judged)."""

    def __init__(self, args: argparse.Namespace, vae: WanVAE, seed: int):
        self.args, self.vae, self.frames = args, vae, args.frames or FRAMES[args.data]
        size, device = (args.height, args.width), torch.device(args.device)
        shader = torch.compile(shade, dynamic=False) if args.compile else shade
        self.walks = MirroredWalks(WorldSource(seed, device, size, shader))
        self.scenes = SceneSource(seed, device, size)
        self.clips: tuple[Tensor, Tensor, Tensor] | None = None

    def video(self, step: int) -> Tensor:
        if self.args.data == "scenes":
            return self.scenes.draw(self.args.batch, self.frames)[0]
        return self.walks.draw(step, self.args.batch, self.frames)

    @torch.no_grad()
    def batch(self, step: int) -> tuple[Tensor, ...]:
        if self.clips is None or step % (WINDOWS if self.args.data == "scenes" else 1) == 0:
            video = self.video(step)
            mu, logvar = self.vae.encode_moments(video, whole=True)
            self.clips = video, mu.float(), logvar.float()
        video, mu, logvar = self.clips
        latents = mu + (0.5 * logvar.clamp(-20, 10)).exp() * torch.randn_like(mu)
        if self.args.data == "walks":
            return latents, video, torch.ones_like(video[:, :1]), torch.ones_like(video[:, :1]).bool()
        frames, *cells = WINDOW
        latents = latents + ROUGH * mu.std() * torch.rand(len(mu), 1, 1, 1, 1, device=mu.device) * torch.randn_like(mu)
        last = max(0, latents.shape[2] - frames)
        first = 0 if random.random() < ANYWHERE else random.randint(0, last)
        latents, video = latents[:, :, first : first + frames], video[:, :, 4 * first : 4 * (first + frames) - 3]
        vivid = (video.amax(1, keepdim=True) - video.amin(1, keepdim=True) > VIVID).float()
        rows, columns = window_of(vivid, cells, ANYWHERE)
        judged = judged_of(rows, columns, latents.shape[3:], video.shape[2], RUN_UP if first else 0)
        latents, video, vivid = (window(v, rows, columns, s) for v, s in ((latents, 1), (video, 8), (vivid, 8)))
        return latents, video, 1 + OBJECT_WEIGHT * vivid, judged


def window_of(vivid: Tensor, cells: Sequence[int], anywhere: float) -> tuple[Tensor, Tensor]:
    """Latent rows and columns, (n, rows) and (n, columns), around where the objects of (n, 1, t, h, w) are at some time;
    for a share of them somewhere else."""
    n, _, t, h, w = vivid.shape
    moment = vivid[torch.arange(n), 0, torch.randint(t, (n,))]  # (n, h, w)
    lost = torch.rand(n, device=vivid.device) < anywhere
    found = []
    for axis, (size, cell) in zip((2, 1), zip((h, w), cells, strict=True), strict=True):
        along = moment.sum(axis)
        middle = (along * torch.arange(size, device=along.device)).sum(1) / along.sum(1).clamp(min=1)
        middle = torch.where(lost, size * torch.rand(n, device=along.device), middle)
        jitter = torch.randint(-16, 17, (n,), device=along.device)
        first = ((middle + jitter) / 8 - cell / 2).round().clamp(0, size // 8 - cell).long()
        found.append(first[:, None] + torch.arange(cell, device=along.device))
    return found[0], found[1]


def judged_of(rows: Tensor, columns: Tensor, cells: Sequence[int], frames: int, run_up: int) -> Tensor:
    """Which pixels of windows into a picture of `cells` have all around them that they depend on, (n, 1, t, h, w)."""
    inside = []
    for where, count in zip((rows, columns), cells, strict=True):
        pixel = torch.arange(8 * where.shape[1], device=where.device)
        first, last = where[:, :1] == 0, where[:, -1:] == count - 1
        inside.append(((pixel >= RIM) | first) & ((pixel < len(pixel) - RIM) | last))
    time = torch.arange(frames, device=rows.device) >= run_up
    return time[:, None, None] & inside[0][:, None, None, :, None] & inside[1][:, None, None, None, :]


def window(x: Tensor, rows: Tensor, columns: Tensor, scale: int) -> Tensor:
    """Cut (n, c, t, h, w), whose pixels are 1 / scale of a cell, to the cells given."""

    def fine(cells: Tensor) -> Tensor:
        return (cells[:, :, None] * scale + torch.arange(scale, device=x.device)).flatten(1)

    n = torch.arange(len(x), device=x.device)[:, None, None]
    return (
        x.permute(0, 3, 4, 1, 2)[n, fine(rows)[:, :, None], fine(columns)[:, None]].permute(0, 3, 4, 1, 2).contiguous()
    )


@torch.no_grad()
def evaluate(vae: WanVAE, data: DecoderData) -> dict[str, float]:
    """On held-out clips, without sampling: PSNR in dB, and edges as a share of the real ones."""
    video = data.video(0)
    out = torch.cat([vae.decode(vae.encode_moments(v[None], whole=True)[0], whole=True) for v in video]).clamp(-1, 1)
    share = edge_energy(out.float()).mean() / edge_energy(video).mean()
    found = {"psnr": psnr(out, video).mean().item(), "edges": share.item()}
    if data.args.data == "walks":
        return found
    seeds = torch.arange(HELD_OUT, HELD_OUT + len(video))
    right = score(read(out.float().cpu()), Scenes.sample(seeds))
    return found | {name: right[name].mean().item() for name in ("shape", "colour")}


def config_of(run: Path) -> VAEConfig:
    """With the mean and deviation of latents that were measured when the encoder was trained."""
    was = json.loads((run / "vae" / "config.json").read_text())
    return dataclasses.replace(sizes.VAE, mean=tuple(was["mean"]), std=tuple(was["std"]))


def train(args: argparse.Namespace) -> dict[str, float]:
    device = torch.device(args.device)
    run = Run(args.out, f"train_decoder_{args.data}", args.minutes)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    vae = WanVAE(sizes.VAE)  # which does not normalise
    first = restore(vae, args.resume / "vae")
    config = config_of(args.resume)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    vae = vae.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    for part in (vae.encoder, vae.conv1):
        part.requires_grad_(False)
    learner = Learner(vae, run, args.rate, args.last)
    data = DecoderData(args, vae, seed=args.seed * 10_000_000)
    compute = torch.compile(losses, dynamic=False) if args.compile else losses

    def update(latents: Tensor, video: Tensor, weight: Tensor, judged: Tensor) -> tuple[Tensor, ...]:
        loss, square = compute(vae, latents, video, weight, judged, args.energy_weight)
        return loss.detach(), square.detach(), learner.step(loss)

    def save(steps: int) -> WanVAE:
        done = WanVAE(sizes.VAE).to(device)
        done.load_state_dict(before | learner.averaged())
        about = {"steps": str(steps), "data": f"the decoder last on {args.data}, seeds below {HELD_OUT}"}
        store(run.out / "vae", done.state_dict(), config, about)
        return done

    replayed = Replayed(update, args.graphs)
    step = first
    for step in run.steps(first, args.steps):
        batch = data.batch(step)
        learner.tick()
        loss, square, norm = replayed(*batch)
        if step % args.note_every == 0:
            run.note(step, loss=loss, psnr=-10 * torch.log10(square / 4), gradient=norm)
        if run.time_to_save():
            save(step + 1)
    args.batch = args.batch_held_out
    found = evaluate(save(step + 1), DecoderData(args, vae, HELD_OUT))
    run.note(step, **{f"held_out_{name}": value for name, value in found.items()})
    draw_curve([run.journal], run.out / f"{run.name}.png", ("loss", "psnr"))
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--data", choices=tuple(FRAMES), required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--energy_weight",
        type=float,
        default=0.5,
        help="of how much edge there is in each patch, wherever in it: least squares alone would blur",
    )
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--last", type=float, default=0.02, help="share of the rate at the end of the run")
    args = parser.parse_args()
    args.height, args.width, args.note_every, args.frames, args.batch_held_out = sizes.HEIGHT, sizes.WIDTH, 25, None, 64
    if args.smoke:
        args.batch, args.frames, args.steps, args.note_every, args.batch_held_out = 2, 9, 3, 1, 2
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(args)


if __name__ == "__main__":
    main()
