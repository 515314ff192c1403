"""Runs end by the clock, learn, and leave files that the loaders open and the next run goes on from."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from wan.config import VAEConfig
from wan.files.checkpoint import load_vae
from wan.modules.vae import WanVAE
from wan.text import Tokenizer
from wan22.config import NEGATIVE_PROMPT
from wanmini import judge, sizes
from wanmini.clips import WorldSource
from wanmini.scenes import tokenizer as scene_tokenizer
from wanmini.train_t2v import TASK, Prompts, draw_sigmas
from wanmini.training import Learner, Replayed, Run, options, restore, store

VAE = VAEConfig(dim=4, dim_mult=(1, 1, 1, 1), num_res_blocks=1, mean=(0.5,) * 16, std=(2.0,) * 16)


def test_a_learner_trains_low_precision_weights_and_averages_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 1).to(torch.bfloat16)
    learner = Learner(layer, Run(tmp_path, "test", minutes=5), rate=0.05)
    x = torch.randn(256, 4).bfloat16()
    target = x.float() @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    losses = []
    for _ in range(250):
        loss = (layer(x).float() - target).pow(2).mean()
        losses.append(loss.item())
        learner.tick()
        learner.step(loss)
    assert losses[-1] < 0.01 * losses[0]
    averaged = learner.averaged()
    assert averaged.keys() == {"weight", "bias"} and (averaged["weight"] - layer.weight).abs().max() < 0.5
    assert torch.equal(layer.weight, learner.master[0].bfloat16())


def test_what_is_stored_is_a_release_and_can_be_resumed(tmp_path: Path) -> None:
    vae = WanVAE(VAE)
    store(tmp_path / "vae", vae.state_dict(), VAE, {"steps": "42"})
    loaded = load_vae(tmp_path / "vae", device="cpu", dtype=torch.float32)
    assert loaded.config == VAE
    again = WanVAE(VAE)
    assert restore(again, tmp_path / "vae") == 42
    assert torch.equal(again.conv1.weight, vae.conv1.weight.half().float())
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_ends_by_the_clock_and_keeps_a_journal(tmp_path: Path) -> None:
    run = Run(tmp_path, "test", minutes=0.001)
    steps = []
    for step in run.steps(first=7):
        steps.append(step)
        run.note(step, loss=torch.tensor(1.0) / (step + 1))
    assert steps == list(range(7, 7 + len(steps))) and len(steps) > 3 and not run.time_to_save()
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == steps


def test_sources_go_on_and_come_again() -> None:
    size = (24, 40)
    source = WorldSource(5, torch.device("cpu"), size, at_once=2)
    first, second = source.draw(2, 3), source.draw(2, 3)
    assert first.video.shape == (2, 3, 3, *size) and not torch.equal(first.video, second.video)
    later = WorldSource(7, torch.device("cpu"), size, at_once=2).draw(2, 3)
    assert torch.equal(later.video, second.video) and torch.equal(later.mouse, second.mouse)


def test_each_expert_is_trained_on_its_side_of_the_boundary() -> None:
    high, low = (draw_sigmas(name, 1000, torch.device("cpu")) for name in ("high", "low"))
    assert high.min() >= TASK.boundary - 1e-6 > low.max() - 2e-6 and low.min() < 0.2 and high.max() > 0.99


def test_training_reads_the_tokens_that_the_command_reads(tmp_path: Path) -> None:
    scene_tokenizer.save(tmp_path / "tokenizer.json")
    texts = [NEGATIVE_PROMPT, "Two red stars, slowly,  drift left.", ""]
    read = Tokenizer(tmp_path / "tokenizer.json", sizes.TEXT_LEN)(texts)
    ids = Prompts(torch.device("cpu"))(texts)
    assert torch.equal(ids[:, : read.ids.shape[1]], read.ids) and (ids[:, read.ids.shape[1] :] == 0).all()
    assert read.mask[0].sum() < 10  # other languages and their commas are left out


def test_verdicts_name_each_bar_once() -> None:
    found = {"vae_db": 30.0, "shape": 0.96, "colour": 0.9, "motion": 1.0, "speed": float("nan"), "count": 0.1}
    assert judge.verdict(found) == {"vae_db": True, "shape": True, "colour": False, "motion": True, "speed": False}
    assert "MISSED" in judge.report(found, judge.verdict(found), 1.0)


def test_every_script_takes_the_same_options() -> None:
    args = options("about").parse_args(["--out", "x", "--smoke", "--no-compile"])
    assert isinstance(args, argparse.Namespace) and args.smoke and not args.compile and args.minutes == 8


@pytest.mark.slow
def test_the_three_scripts_run_one_behind_the_other(tmp_path: Path) -> None:
    def run(script: str, *args: str) -> None:
        command = [
            sys.executable,
            "-m",
            f"wanmini.{script}",
            "--smoke",
            "--minutes",
            "1",
            "--out",
            str(tmp_path / script),
        ]
        subprocess.run([*command, *args], check=True)

    run("train_vae")
    vae = ("--vae", str(tmp_path / "train_vae"))
    run("train_world", *vae)
    run("train_world", *vae, "--resume", str(tmp_path / "train_world"), "--own", "0.7")
    run("train_t2v", *vae)
    assert (tmp_path / "train_world" / "base_distilled_model" / "config.json").exists()
    assert (tmp_path / "train_t2v" / "tokenizer" / "tokenizer.json").exists()


@pytest.mark.gpu
def test_a_replayed_update_is_the_update(tmp_path: Path) -> None:
    def trained(graphs: bool) -> torch.Tensor:
        torch.manual_seed(0)
        layer = nn.Linear(8, 8).cuda()
        learner = Learner(layer, Run(tmp_path, "test", minutes=5), rate=0.01)

        def update(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            loss = (layer(x) - x).pow(2).mean()
            return loss.detach(), learner.step(loss)

        replayed = Replayed(update, graphs)
        x = torch.randn(32, 8, device="cuda")
        for _ in range(20 if graphs else 20 + Replayed.WARM_UP_CALLS):
            learner.tick()
            replayed(x)
        return layer.weight.detach()

    assert (trained(True) - trained(False)).abs().max() < 0.02
