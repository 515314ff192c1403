"""Train the minis' VAE: `python -m wanmini.train_vae --minutes 8 --out OUT [--resume OUT_OF_THE_LAST_RUN]`.

On whole clips as long as those it will decode: a VAE trained on shorter ones drifts in colour behind their end. Walks
and scenes are drawn as it goes. Both minis share the result. It ends with its PSNR on held-out 45-frame clips.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging

import torch
from torch import Tensor

from wan.config import VAEConfig
from wan.modules.vae import WanVAE
from wanmini import sizes
from wanmini.clips import HELD_OUT, MirroredWalks, SceneSource, WorldSource
from wanmini.loss_curve import draw_curve
from wanmini.training import Learner, Run, options, psnr, restore, store
from wanmini.world.render import shade

FRAMES = 45
KL_WEIGHT = 2e-4
EDGE_WEIGHT = 0.5  # differences between neighbours in x, y and time: sharpness, and colours that stay


def reconstruct(vae: WanVAE, video: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruction through sampled latents, and their KL divergence. `vae` must not normalise."""
    mu, logvar = (m.float() for m in vae.encode_moments(video, whole=True))
    logvar = logvar.clamp(-20, 10)
    kl = 0.5 * (mu.pow(2) + logvar.exp() - 1 - logvar).mean()
    z = mu + (0.5 * logvar).exp() * noise
    return vae.decode(z, whole=True).float(), kl


def losses(vae: WanVAE, video: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Total loss, squared error, KL."""
    out, kl = reconstruct(vae, video, noise)
    error = out - video
    edges = sum(error.diff(dim=d).abs().mean() for d in (2, 3, 4))
    square = error.pow(2).mean()
    return error.abs().mean() + 2 * square + EDGE_WEIGHT * edges + KL_WEIGHT * kl, square, kl


class VAEData:
    """One batch in `scene_every` is scenes, the others are walks."""

    def __init__(self, args: argparse.Namespace, device: torch.device, seed: int):
        self.args, size = args, (args.height, args.width)
        shader = torch.compile(shade, dynamic=False) if args.compile else shade
        self.walks = MirroredWalks(WorldSource(seed, device, size, shader))
        self.scenes = SceneSource(seed, device, size)

    def batch(self, step: int) -> Tensor:
        if step % self.args.scene_every == 0:
            return self.scenes.draw(self.args.batch, self.args.frames)[0]
        return self.walks.draw(step, self.args.batch, self.args.frames)


@torch.no_grad()
def evaluate(vae: WanVAE, held_out: VAEData) -> dict[str, float]:
    """Mean PSNR in dB of a batch of held-out walks and of one of scenes, without sampling."""
    found = {}
    walks = held_out.walks.draw(0, held_out.args.batch, held_out.args.frames)
    for name, video in (("world", walks), ("scenes", held_out.batch(0))):
        out = torch.cat([reconstruct(vae, clip[None], torch.zeros((), device=clip.device))[0] for clip in video])
        found[f"psnr_{name}"] = psnr(out.clamp(-1, 1), video).mean().item()
    return found


@torch.no_grad()
def statistics(vae: WanVAE, data: VAEData, batches: int = 4) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each latent channel, over walks and scenes alike."""
    latents = torch.cat([vae.encode_moments(data.batch(step), whole=True)[0] for step in range(batches)])
    flat = latents.transpose(0, 1).flatten(1)
    return tuple(flat.mean(1).tolist()), tuple(flat.std(1).tolist())


def save(
    run: Run, learner: Learner, data: VAEData, config: VAEConfig, device: torch.device, steps: int, **notes: float
) -> WanVAE:
    """The averaged weights with the statistics of their latents; returns them as a float32 model that does not normalise."""
    vae = WanVAE(config).to(device)
    vae.load_state_dict(learner.averaged())
    mean, std = statistics(vae, data)
    about = {"steps": str(steps), "data": f"walks and scenes, seeds below {HELD_OUT}"}
    about |= {key: f"{value:.4f}" for key, value in notes.items()}
    store(run.out / "vae", vae.state_dict(), dataclasses.replace(config, mean=mean, std=std), about)
    return vae


def train(args: argparse.Namespace) -> dict[str, float]:
    device = torch.device(args.device)
    run = Run(args.out, "train_vae", args.minutes)
    config = sizes.VAE
    torch.manual_seed(args.seed)
    vae = WanVAE(config)
    first = restore(vae, args.resume / "vae") if args.resume else 0
    vae = vae.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    learner = Learner(vae, run, args.rate, args.last)
    data = VAEData(args, device, seed=args.seed * 10_000_000)
    step_losses = torch.compile(losses, dynamic=False) if args.compile else losses
    shape = (args.batch, config.z_dim, (args.frames - 1) // 4 + 1, args.height // 8, args.width // 8)
    step = first
    for step in run.steps(first, args.steps):
        loss, square, kl = step_losses(vae, data.batch(step), torch.randn(shape, device=device))
        learner.tick()
        norm = learner.step(loss)
        if step % args.note_every == 0:
            run.note(step, loss=loss, psnr=-10 * torch.log10(square.detach() / 4), kl=kl, gradient=norm)
        if run.time_to_save():
            save(run, learner, data, config, device, step + 1, loss=loss.item())
    vae = save(run, learner, data, config, device, step + 1, loss=loss.item())
    found = evaluate(vae, VAEData(args, device, HELD_OUT))
    run.note(step, **found)
    draw_curve([run.journal], run.out / "train_vae.png", ("loss", "psnr", "kl"))
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--last", type=float, default=0.1, help="share of the rate at the end of the run")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--scene_every", type=int, default=5)
    args = parser.parse_args()
    args.height, args.width, args.note_every = sizes.HEIGHT, sizes.WIDTH, 25
    if args.smoke:
        args.batch, args.frames, args.height, args.width, args.steps, args.note_every = 4, 9, 32, 48, 3, 1
        args.scene_every = 2
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(args)


if __name__ == "__main__":
    main()
