"""Benchmarks: operations counted by hand, times by definition, and wrong rows found before they are timed."""

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch

from mgcli.bench import causal, decoding, world
from mgcli.bench.game import game_cases
from mgcli.bench.ladder import Calls, Case, Rung, climb, floor_of
from mgcli.bench.machine import Machine
from mgcli.bench.official import with_official
from mgcli.bench.random_weights import random_model
from mgcli.bench.sizes import RELEASED, GameSize
from mgcli.bench.timing import ONCE, Budget, measure, percentile
from mgcli.bench.work import Convolution, Product, causal_forward, flops, largest, repeated, vae_decode, vae_decode_clip
from tests.wan.tiny_models import LATENT, causal_config
from wan.config import UNIVERSAL, WAN21_VAE, VAEConfig
from wan.fast.causal import OptimizedCausalWanModel
from wan.modules.causal_model import CausalWanModel
from wan.modules.vae import WanVAE

CPU = torch.device("cpu")
VAE = VAEConfig(dim=4, num_res_blocks=1)
TINY = GameSize(
    label="tiny", causal=causal_config(), vae=VAE, latent=LATENT, image_tokens=5, dtype=torch.float32,
    vae_dtype=torch.float32, windows=(6,),
)  # fmt: skip


@pytest.mark.parametrize("window, attention", [(6, 2.569), (15, 6.423)])
def test_arithmetic_of_a_causal_forward(window, attention):
    """30 layers of 6 square products and a feed-forward, 15 action modules, attention to the window and 257 tokens."""
    tokens, dim = 2640, 1536
    layers = 30 * 2 * tokens * (6 * dim**2 + 2 * dim * 8960) / 1e12
    action = 15 * 2 * tokens * (4 * dim * 1024 + 4 * 1024**2) / 1e12
    image = 30 * 4 * tokens * 257 * dim / 1e12
    counted = flops(causal_forward(UNIVERSAL, tokens, window * 880, 257)) / 1e12
    assert counted == pytest.approx(layers + action + image + attention, rel=1e-3)
    assert window != 6 or counted == pytest.approx(10.13, abs=0.01)


def test_arithmetic_of_a_decode():
    """12 frames of 352x640 are 22.9 TFLOP, of which doubled frames take 4/9 when convolved at their own size."""
    work = vae_decode(WAN21_VAE, 3, 44, 80)
    doubling = sum(o.flops * n for o, n in work.items() if isinstance(o, Convolution) and o.side == 2)
    assert (flops(work) + doubling * 5 / 4) / 1e12 == pytest.approx(22.9, abs=0.05)
    # the first latent frame of a clip is one frame, and the rest of them four
    assert flops(vae_decode_clip(WAN21_VAE, 3, 44, 80)) < flops(work)
    assert flops(vae_decode_clip(WAN21_VAE, 4, 44, 80)) - flops(vae_decode_clip(WAN21_VAE, 3, 44, 80)) == pytest.approx(flops(work) / 3)  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
def test_convolutions_counted_are_those_of_the_decoder(first):
    """Multiplications of every convolution that runs, doubled frames at their full size."""
    vae, counted = WanVAE(VAE), 0

    def count(conv, given, out):
        nonlocal counted
        counted += 2 * out.numel() * conv.weight[0].numel()

    for module in vae.decoder.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d):
            module.register_forward_hook(count)
    latents, state = torch.randn(1, 16, 2, 4, 6), vae.new_state()
    if not first:
        vae.decode_chunk(latents, state)
        counted = 0
    vae.decode_chunk(latents, state)
    work = vae_decode(VAE, 2, 4, 6, first)
    expected = sum(
        o.flops * n * (9 / 4 if isinstance(o, Convolution) and o.side == 2 else 1)
        for o, n in work.items()
        if isinstance(o, Product | Convolution)
    )
    assert expected == pytest.approx(counted)


def test_work_adds_up():
    work = Counter([Product(2, 3, 4), Product(2, 3, 4), Product(1, 1, 1)])
    assert flops(work) == 2 * 2 * 24 + 2
    assert flops(repeated(work, 3)) == 3 * flops(work)
    assert largest([work, Counter([Convolution(1, 2, 2, 3, 4)])]) == [Product(2, 3, 4), Convolution(1, 2, 2, 3, 4)]


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr("mgcli.bench.machine.BATCH_SECONDS", 1e-4)  # of numbers that nobody reads
    return Machine(CPU)


def test_machine_measures_every_operation_once(machine):
    work = decoding.stream_work(TINY) + causal.forward_work(TINY, 6)
    floor = machine.floor_ms(work, torch.float32)
    assert floor > 0 and floor == machine.floor_ms(work, torch.float32)


def test_percentiles_are_samples():
    assert percentile([5.0, 1.0, 2.0, 4.0, 3.0, 6.0, 7.0, 8.0, 9.0, 10.0], 0.9) == 9.0
    assert percentile([3.0], 0.9) == 3.0


def test_warm_up_and_preparation_are_not_counted():
    called = []
    timing = measure(partial(called.append, "call"), CPU, Budget(0, 3, 9, warmups=2), partial(called.append, "before"))
    assert called == ["before", "call"] * 5 and timing.calls == 3 and timing.median_ms <= timing.p90_ms


def test_weights_depend_on_names_alone():
    make = partial(random_model, device=CPU)
    config = causal_config()
    plain, fast = (make(lambda cls=cls: cls(config), dtype=torch.float32) for cls in (CausalWanModel, OptimizedCausalWanModel))  # fmt: skip
    half = make(lambda: CausalWanModel(config), dtype=torch.bfloat16).state_dict()
    other = make(lambda: CausalWanModel(config), dtype=torch.float32, seed=1).state_dict()
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, fast.state_dict()[name]) and torch.equal(weight, half[name].float())
        assert not torch.equal(weight, other[name])


def made(*rungs, **changes):
    return Case(name="case", title="", rungs=rungs, dtype=torch.float32, **changes)


def gives(value, note=lambda: None):
    def opened():
        note()
        return Calls(lambda: torch.full((4,), value), lambda: None)

    return opened


def fails(error):
    def opened():
        raise error

    return opened


def test_wrong_rows_are_marked():
    nan = float("nan")
    case = made(
        Rung("reference", gives(1.0)),
        Rung("equal", gives(1.00001)),
        Rung("other", gives(1.01)),
        Rung("not a number", gives(nan)),
        Rung("lossy", gives(1.5), "lossy"),
        Rung("lossy, broken", gives(nan), "lossy"),
        Rung("peer", gives(2.0), "peer"),
        Rung("fails", fails(RuntimeError("too large\nfor this"))),
        Rung("not there", fails(ModuleNotFoundError("No module named 'peer'")), "peer"),
        Rung("graph", gives(1.0), cuda_only=True),
    )
    rows = {row.name: row for row in climb(case, CPU, ONCE)}
    assert [name for name, row in rows.items() if row.wrong] == ["other", "not a number", "lossy, broken", "fails"]
    assert rows["equal"].timing and rows["lossy"].error == pytest.approx(0.5)
    assert rows["fails"].note == "too large" and rows["not there"].note == "No module named 'peer'"
    assert rows["graph"].timing is None and rows["graph"].note == "needs a CUDA GPU"


@pytest.mark.parametrize("slack, wrong", [(1.1, ["further"]), (2.0, [])])
def test_exact_rows_are_as_near_the_truth_as_the_reference(slack, wrong):
    case = made(
        Rung("reference", gives(1.01)), Rung("as near", gives(0.99)), Rung("further", gives(1.015)),
        truth=gives(1.0), slack=slack,
    )  # fmt: skip
    half = replace(case, dtype=torch.bfloat16)
    rows = list(climb(half, CPU, ONCE))
    assert [row.name for row in rows if row.wrong] == wrong and rows[0].error == pytest.approx(0.01)


def test_quick_runs_do_without_the_truth():
    asked = []
    case = made(Rung("reference", gives(1.0)), Rung("rounded", gives(1.03)), Rung("wrong", gives(1.1)),
                truth=gives(1.0, partial(asked.append, 1)))  # fmt: skip
    rows = list(climb(replace(case, dtype=torch.bfloat16), CPU, ONCE, proven=False))
    assert not asked and [row.wrong for row in rows] == [False, False, True]


@pytest.mark.parametrize("case", game_cases(TINY, CPU), ids=lambda case: case.name)
def test_every_game_case_runs_and_is_right(case, machine):
    rows = list(climb(case, CPU, ONCE))
    assert not [row for row in rows if row.wrong]
    assert [row.timing is None for row in rows] == [rung.cuda_only for rung in case.rungs]
    assert floor_of(case, machine).tflop > 0


def test_a_block_is_compared_past_eviction():
    player = world.KeyPresser(TINY, world.open_world(TINY, CPU, world.WAYS[0], torch.float32))
    assert player.fill_window().shape == (1, 16, 9, *LATENT) and player.world.block == 3
    assert player.press().shape == (1, 12, 32, 48, 3) and player.world.pending is not None


def test_released_goals_are_of_cases():
    assert set(RELEASED.goals) == {case.name for case in game_cases(RELEASED, CPU)}


def test_official_code_is_a_peer_of_what_it_can_do(tmp_path):
    cases = with_official(game_cases(TINY, CPU), tmp_path, TINY, CPU, ONCE)
    peers = {case.name: [rung for rung in case.rungs if rung.kind == "peer"] for case in cases}
    assert {name for name, rungs in peers.items() if rungs} == {"forward-6", "decode", "block"}
    [row] = climb(made(*peers["decode"]), CPU, ONCE)
    assert not row.wrong and row.note == "the official code: ModuleNotFoundError: No module named 'demo_utils'"


OFFICIAL_DECODER = """
import torch
from wan.modules.sizes import SCALE


class VAEDecoderWrapper(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.decoder = torch.nn.Module()
        self.decoder.decoder_conv_num = 1

    def forward(self, chunk, *cache):
        return chunk[:, :, :3].repeat_interleave(SCALE, -1), list(cache)
"""


def test_in_the_process_of_the_official_code_wan_is_theirs(tmp_path):
    for name, text in {"demo_utils/vae_block3.py": OFFICIAL_DECODER, "wan/modules/sizes.py": "SCALE = 8"}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    [decode] = [
        case for case in with_official(game_cases(TINY, CPU), tmp_path, TINY, CPU, ONCE) if case.name == "decode"
    ]
    [row] = climb(made(*(rung for rung in decode.rungs if rung.kind == "peer")), CPU, ONCE)
    assert row.timing and row.timing.calls == 1, row.note
