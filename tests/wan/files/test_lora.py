"""LoRA files in every spelling: what is loaded with one equals the weights with its products added by hand in float32."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.wan.checkpoints import write_config
from tests.wan.files.test_gguf import CONFIG, CPU, F32, inputs, mixed, unpacked, weights_of
from wan.fast.expert import OptimizedWanModel
from wan.fast.held import HeldLinear
from wan.fast.offload import stream_from_file
from wan.fast.speed import Speed
from wan.files.checkpoint import load_wan, open_weights
from wan.files.loading import Finish
from wan.files.lora import open_lora
from wan.files.lora_keys import plain_name
from wan.modules.model import WanModel

RANK = 4
LAYERS = ("blocks.0.self_attn.q", "blocks.0.cross_attn.o", "blocks.1.ffn.0", "blocks.1.ffn.2", "time_projection.1")
THEIRS = dict(zip(LAYERS, (
    "blocks.0.attn1.to_q", "blocks.0.attn2.to_out.0", "blocks.1.ffn.net.0.proj", "blocks.1.ffn.net.2", "condition_embedder.time_proj",
)))  # fmt: skip
PEFT = ("lora_A.weight", "lora_B.weight")
KOHYA = ("lora_down.weight", "lora_up.weight")


def flat(name):
    return name.replace(".", "_")


# how a layer is called, how its factors are, whether an alpha stands beside them
SPELLINGS = {
    "diffusers": (lambda n: f"transformer.{THEIRS[n]}", PEFT, False),
    "diffusers, an adapter's name": (lambda n: f"transformer.{THEIRS[n]}", ("lora_A.default.weight", "lora_B.default.weight"), False),
    "diffusers, older": (lambda n: f"transformer.{THEIRS[n]}", ("lora.down.weight", "lora.up.weight"), False),
    "ComfyUI": (lambda n: f"diffusion_model.{n}", KOHYA, True),
    "ComfyUI, PEFT's factors": (lambda n: f"diffusion_model.{n}", PEFT, False),
    "kohya": (lambda n: f"lora_unet_{flat(n)}", KOHYA, True),
    "kohya, two underscores": (lambda n: f"lora_unet__{flat(n)}", KOHYA, True),
    "kohya of diffusers": (lambda n: f"lora_transformer_{flat(THEIRS[n])}", KOHYA, True),
    "LyCORIS": (lambda n: f"lycoris_{flat(n)}", KOHYA, True),
    "DiffSynth": (lambda n: f"pipe.dit.{n}", ("lora_A.default.weight", "lora_B.default.weight"), False),
    "PEFT": (lambda n: f"base_model.model.{n}", PEFT, True),
    "bare": (lambda n: n, PEFT, False),
}  # fmt: skip


def factors(layers=LAYERS, rank=RANK, seed=3):
    """Layer -> down, up."""
    torch.manual_seed(seed)
    shapes = {n: t.shape for n, t in weights_of(WanModel, CONFIG).items()}
    made = {}
    for name in layers:
        rows, columns = shapes[f"{name}.weight"]
        made[name] = torch.randn(rank, columns) * 0.1, torch.randn(rows, rank) * 0.1
    return made


def write_lora(path, spelling="bare", alpha=2.0, notes=None, extra=None, made=None):
    """Returns what it adds to which tensor."""
    called, (down, up), has_alpha = SPELLINGS[spelling]
    tensors, added = dict(extra or {}), {}
    for name, (a, b) in (made or factors()).items():
        tensors |= {f"{called(name)}.{down}": a, f"{called(name)}.{up}": b}
        if has_alpha:
            tensors[f"{called(name)}.alpha"] = torch.tensor(alpha)
        added[f"{name}.weight"] = (alpha / len(a) if has_alpha else 1.0) * b @ a
    save_file(tensors, path, notes)
    return added


@pytest.fixture
def expert(tmp_path):
    """A file of an expert, and its tensors."""
    tensors = weights_of(WanModel, CONFIG)
    write_config(tmp_path, CONFIG)
    save_file(tensors, tmp_path / "high.safetensors")
    return tmp_path / "high.safetensors", tensors


def opened(path, expert):
    [lora] = open_lora(path, open_weights(expert).shapes)
    return lora


def load(path, *loras, cls=OptimizedWanModel, finish=None, **how):
    return load_wan(path, cls=cls, finish=finish or Speed(**how).finish(CPU), loras=loras, **F32)


def assert_has(model, tensors, added, strength=1.0):
    for name, got in model.state_dict().items():
        want = tensors[name] + strength * added.get(name, torch.zeros(()))
        torch.testing.assert_close(
            got, want.view(got.shape), rtol=1e-5, atol=1e-6, msg=lambda said, n=name: f"{n}: {said}"
        )
        assert name in added or torch.equal(got, want.view(got.shape))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_the_sum_by_hand(tmp_path, expert, spelling):
    path, tensors = expert
    added = write_lora(tmp_path / "a.safetensors", spelling)
    lora = opened(tmp_path / "a.safetensors", path)
    assert not lora.unfit and set(lora.changes) == set(added)
    assert_has(load(path, (lora, 0.7)), tensors, added, 0.7)
    assert "rank 4, changes 5 tensors" in lora.told


def test_diffusers_own_writer(tmp_path, expert):
    pipelines = pytest.importorskip("diffusers.loaders.lora_pipeline")
    path, tensors = expert
    made = factors()
    state = {f"{THEIRS[n]}.{kind}": t for n, pair in made.items() for kind, t in zip(PEFT, pair)}
    metadata = {"r": RANK, "lora_alpha": 8, "use_rslora": True, "alpha_pattern": {}}
    pipelines.WanLoraLoaderMixin.save_lora_weights(tmp_path, state, transformer_lora_adapter_metadata=metadata)
    lora = opened(tmp_path / "pytorch_lora_weights.safetensors", path)
    added = {f"{n}.weight": 8 / RANK**0.5 * b @ a for n, (a, b) in made.items()}
    assert_has(load(path, (lora, 1.0)), tensors, added)


def test_peft_keeps_its_alpha_beside_the_file(tmp_path, expert):
    path, tensors = expert
    made = factors()
    write_lora(tmp_path / "adapter_model.safetensors", "bare")
    said = {"lora_alpha": 6, "alpha_pattern": {"ffn.0": 2}, "use_rslora": False}
    (tmp_path / "adapter_config.json").write_text(json.dumps(said))
    lora = opened(tmp_path / "adapter_model.safetensors", path)
    added = {f"{n}.weight": (2 if n.endswith("ffn.0") else 6) / RANK * b @ a for n, (a, b) in made.items()}
    assert_has(load(path, (lora, 1.0)), tensors, added)


def test_a_torch_file_and_16_bits(tmp_path, expert):
    path, tensors = expert
    made = {n: (a.bfloat16(), b.bfloat16()) for n, (a, b) in factors().items()}
    state = {f"diffusion_model.{n}.{kind}": t for n, pair in made.items() for kind, t in zip(PEFT, pair)}
    torch.save(state, tmp_path / "a.pt")
    added = {f"{n}.weight": b.float() @ a.float() for n, (a, b) in made.items()}
    assert_has(load(path, (opened(tmp_path / "a.pt", path), 1.0)), tensors, added)


def test_whole_differences_and_a_convolution(tmp_path, expert):
    path, tensors = expert
    torch.manual_seed(5)
    whole = {
        "blocks.0.norm3.weight": ("blocks.0.norm3.diff", torch.randn(256)),
        "blocks.0.norm3.bias": ("blocks.0.norm3.diff_b", torch.randn(256)),
        "blocks.1.modulation": ("blocks.1.diff_m", torch.randn(1, 6, 256)),
        "head.modulation": ("head.modulation.diff", torch.randn(1, 2, 256)),
        "blocks.1.self_attn.norm_q.weight": ("blocks.1.self_attn.norm_q.diff", torch.randn(256)),
        "blocks.1.self_attn.k.weight": ("blocks.1.self_attn.k.diff", torch.randn(256, 256)),
    }
    down, up = torch.randn(2, 16, 1, 2, 2), torch.randn(256, 2, 1, 1, 1)
    extra = {f"diffusion_model.{key}": t for key, t in whole.values()}
    extra |= {
        "diffusion_model.patch_embedding.lora_down.weight": down,
        "diffusion_model.patch_embedding.lora_up.weight": up,
    }
    write_lora(tmp_path / "a.safetensors", "ComfyUI", extra=extra)
    added = {name: t for name, (_, t) in whole.items()} | write_lora(tmp_path / "b.safetensors", "ComfyUI")
    added["patch_embedding.weight"] = (up.flatten(1) @ down.flatten(1)).view(256, 16, 1, 2, 2)
    lora = opened(tmp_path / "a.safetensors", path)
    assert_has(load(path, (lora, 0.5), reference=True, cls=WanModel), tensors, added, 0.5)
    assert "6 whole differences" in lora.told


def test_several_add_up_and_one_of_strength_0_is_none_at_all(tmp_path, expert):
    path, tensors = expert
    first = write_lora(tmp_path / "a.safetensors", "kohya")
    second = write_lora(tmp_path / "b.safetensors", "bare", made=factors(LAYERS[:2], rank=7, seed=9))
    a, b = (opened(tmp_path / f"{name}.safetensors", path) for name in "ab")
    added = {n: 0.5 * first[n] - 2 * second.get(n, torch.zeros(())) for n in first}
    assert_has(load(path, (a, 0.5), (b, -2.0)), tensors, added)
    assert torch.equal(load(path, (a, 0.0))(*inputs()), load(path)(*inputs()))


def test_in_16_bits_the_sum_is_rounded_once(tmp_path, expert):
    path, tensors = expert
    added = write_lora(tmp_path / "a.safetensors")
    lora = opened(tmp_path / "a.safetensors", path)
    model = load_wan(path, cls=WanModel, device="cpu", dtype=torch.bfloat16, loras=[(lora, 1.0)])
    for name, more in added.items():
        got, want = model.state_dict()[name], (tensors[name] + more).bfloat16()
        assert (got == want).float().mean() > 0.999  # float32 sums in another order
        torch.testing.assert_close(got, want, rtol=2**-7, atol=0)


def test_8_bit_floats_made_while_loading_are_those_of_the_sum(tmp_path, expert):
    from wan.fast.fp8 import quantise

    path, tensors = expert
    added = write_lora(tmp_path / "a.safetensors")
    model = load(path, (opened(tmp_path / "a.safetensors", path), 1.0), fp8=True)
    want = unpacked({n: t + added.get(n, torch.zeros(())) for n, t in tensors.items()})
    quantise(want)
    torch.testing.assert_close(model(*inputs()), want(*inputs()), rtol=1e-2, atol=1e-2)


def packed_file(tmp_path, kind):
    if kind == "gguf":
        pytest.importorskip("gguf")
        from tests.wan.files.test_gguf import write_expert

        return tmp_path / "high.gguf", write_expert(tmp_path / "high.gguf")
    from tests.wan.files.test_kept_8_bit import write_8_bit

    return tmp_path / "high.safetensors", write_8_bit(tmp_path, kind)


@pytest.mark.parametrize("kind", ["gguf", "ComfyUI, older", "LightX2V int8"])
def test_a_packed_file_stays_packed_and_runs_as_if_unpacked_and_changed(tmp_path, kind):
    path, read = packed_file(tmp_path, kind)
    added = write_lora(tmp_path / "a.safetensors", "kohya")
    twice = write_lora(tmp_path / "b.safetensors", made=factors(rank=2, seed=8))
    a, b = (opened(tmp_path / f"{name}.safetensors", path) for name in "ab")
    model = load(path, (a, 0.7), (b, 0.3))
    held = model.blocks[1].ffn[0]
    assert isinstance(held, HeldLinear) and held.weight.dtype.itemsize == 1 and held.rank == RANK + 2
    assert sum(p.nbytes for p in model.blocks.parameters()) < 0.5 * sum(4 * t.numel() for t in read.values())
    want = unpacked(
        {n: (t.view(-1) + (0.7 * added[n] + 0.3 * twice[n]).view(-1)) if n in added else t for n, t in read.items()}
    )
    torch.testing.assert_close(model(*inputs()), want(*inputs()), rtol=1e-4, atol=1e-5)
    # joined products read the numbers too
    q = model.blocks[0].self_attn.qkv.matrix(torch.float32)[:256]
    torch.testing.assert_close(q, want.blocks[0].self_attn.qkv.weight[:256], rtol=1e-5, atol=1e-6)


def test_a_whole_difference_unpacks_the_weight_that_it_changes(tmp_path):
    path, read = packed_file(tmp_path, "LightX2V int8")
    extra = {"blocks.0.self_attn.k.diff": torch.randn(256, 256), "blocks.0.ffn.0.diff": torch.randn(512, 256)}
    write_lora(tmp_path / "a.safetensors", extra=extra, made=factors(LAYERS[:1]))
    added = {"blocks.0.self_attn.q.weight": (lambda a, b: b @ a)(*factors(LAYERS[:1])[LAYERS[0]])}
    added |= {name.replace("diff", "weight"): t for name, t in extra.items()}
    model = load(path, (opened(tmp_path / "a.safetensors", path), 1.0))
    want = unpacked({n: t + added.get(n, torch.zeros(())) for n, t in read.items()})
    torch.testing.assert_close(model(*inputs()), want(*inputs()), rtol=1e-4, atol=1e-5)


def test_8_bit_products_leave_those_alone_that_a_file_adds_to(tmp_path, monkeypatch):
    from wan.fast import speed
    from wan.fast.fp8 import Fp8Linear

    monkeypatch.setattr(speed, "has_fp8_products", lambda device: True)
    path, _ = packed_file(tmp_path, "LightX2V fp8")
    write_lora(tmp_path / "a.safetensors")
    model = load(path, (opened(tmp_path / "a.safetensors", path), 1.0))
    assert not isinstance(model.blocks[0].self_attn.qkv, Fp8Linear) and isinstance(model.blocks[1].ffn[0], HeldLinear)
    assert isinstance(model.blocks[1].self_attn.qkv, Fp8Linear)
    assert torch.isfinite(model(*inputs())).all()


@pytest.mark.parametrize("kind", ["plain", "gguf"])
@pytest.mark.parametrize("slots", [2, 99])
def test_streamed_from_the_file_it_is_the_same(tmp_path, expert, kind, slots):
    path = expert[0] if kind == "plain" else packed_file(tmp_path, kind)[0]
    write_lora(tmp_path / "a.safetensors", "kohya")
    lora = opened(tmp_path / "a.safetensors", path)
    hold = Speed().finish(CPU).hold
    finish = Finish(hold, stream=lambda m, w: stream_from_file(m, w, Finish(hold), CPU, slots))
    streamed, resident = load(path, (lora, 1.0), finish=finish), load(path, (lora, 1.0))
    for _ in range(2):
        assert torch.equal(streamed(*inputs()), resident(*inputs()))


def test_both_experts_in_a_file_of_diffusers(tmp_path, expert):
    made = factors(LAYERS[:1])
    a, b = made[LAYERS[0]]
    extra = {
        "transformer_2.blocks.0.attn1.to_k.lora_A.weight": a + 1,
        "transformer_2.blocks.0.attn1.to_k.lora_B.weight": b + 1,
    }
    said = {"transformer.lora_alpha": 8, "transformer_2.lora_alpha": 12}
    notes = {"lora_adapter_metadata": json.dumps(said)}
    write_lora(tmp_path / "a.safetensors", "diffusers", extra=extra, made=made, notes=notes)
    high, low = open_lora(tmp_path / "a.safetensors", open_weights(expert[0]).shapes)
    assert (high.expert, list(high.changes)) == ("high", ["blocks.0.self_attn.q.weight"])
    assert (low.expert, list(low.changes)) == ("low", ["blocks.0.self_attn.k.weight"])
    assert [next(iter(lora.changes.values())).scale for lora in (high, low)] == [2.0, 3.0]


@pytest.mark.parametrize(
    ("name", "notes", "wanted"),
    [
        ("style_high_noise.safetensors", {}, "high"), ("style-LOW.safetensors", {}, "low"), ("slow.safetensors", {}, None),
        ("style.safetensors", {"ss_output_name": "style_low_noise"}, "low"), ("style.safetensors", {"ss_output_name": "x"}, None),
    ],
)  # fmt: skip
def test_which_expert_it_was_made_for(tmp_path, expert, name, notes, wanted):
    write_lora(tmp_path / name, notes=notes)
    assert opened(tmp_path / name, expert[0]).expert == wanted


STRANGE = {
    "diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight": (torch.zeros(4, 256), "of an older image model"),
    "diffusion_model.head.head.diff": (torch.zeros(7, 256), "is (7, 256) where the model has (64, 256)"),
    "diffusion_model.blocks.99.ffn.0.lora_up.weight": (torch.zeros(512, 4), "the model has no such layer"),
    "lora_te_text_model.lora_up.weight": (torch.zeros(512, 4), "of a text encoder"),
    "diffusion_model.blocks.0.ffn.0.hada_w1_a": (torch.zeros(4, 4), "of a kind that is not read here"),
    "diffusion_model.blocks.0.self_attn.v.lora_A.bias": (torch.zeros(4), "of a kind that is not read here"),
    "diffusion_model.blocks.1.self_attn.v.lora_up.weight": (torch.zeros(256, 4), "one of its two factors is missing"),
    "diffusion_model.blocks.0.ffn.0.lora_up.other.weight": (torch.zeros(512, 4), "the file has diffusion_model.blocks.0.ffn.0.lora_up.first.weight too"),
    "diffusion_model.blocks.0.self_attn.k.alpha": (torch.tensor(float("nan")), "its alpha is no finite number"),
    "diffusion_model.blocks.0.ffn.2.dora_scale": (torch.zeros(256, 1), "DoRA, which is not read here"),
}  # fmt: skip


def test_what_does_not_fit_is_told_and_the_rest_is_used(tmp_path, expert):
    made = factors((*LAYERS, "blocks.0.ffn.2"))
    extra = {key: tensor for key, (tensor, _) in STRANGE.items()}
    extra |= {"diffusion_model.blocks.1.self_attn.q.lora_down.weight": torch.zeros(4, 128)}
    extra |= {"diffusion_model.blocks.1.self_attn.q.lora_up.weight": torch.zeros(128, 4)}
    extra |= {"diffusion_model.blocks.0.self_attn.k.lora_up.weight": torch.zeros(256, 4)}
    extra |= {"diffusion_model.blocks.0.self_attn.k.lora_down.weight": torch.zeros(4, 256)}
    extra |= {"diffusion_model.blocks.0.ffn.0.lora_up.first.weight": torch.zeros(512, 4)}
    write_lora(tmp_path / "a.safetensors", "ComfyUI", extra=extra, made=made)
    lora = opened(tmp_path / "a.safetensors", expert[0])
    assert {key: lora.unfit[key] for key in STRANGE} == {key: why for key, (_, why) in STRANGE.items()}
    assert "its factors are (128, 4) and (4, 128)" in lora.unfit["diffusion_model.blocks.1.self_attn.q.lora_up.weight"]
    assert set(lora.changes) == {f"{name}.weight" for name in LAYERS}
    assert "keys left out" in lora.told and "\n" not in lora.told


@pytest.mark.parametrize(
    "note", ["[]", "{", "null", '{"lora_alpha": "x"}', '{"lora_alpha": 1e999}', '{"alpha_pattern": [1]}', "[" * 5000]
)
def test_notes_of_any_wrong_shape_say_nothing(tmp_path, expert, note):
    write_lora(tmp_path / "a.safetensors", notes={"lora_adapter_metadata": note, "ss_output_name": "/"})
    lora = opened(tmp_path / "a.safetensors", expert[0])
    assert lora.expert is None and {change.scale for change in lora.changes.values()} == {1.0}


def test_one_that_fits_nowhere_is_refused(tmp_path, expert):
    save_file({"lora_te_x.lora_up.weight": torch.zeros(2, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors fits this model nowhere, 1 keys .*of a text encoder"):
        opened(tmp_path / "a.safetensors", expert[0])
    with pytest.raises(FileNotFoundError, match="no such file"):
        opened(tmp_path / "b.safetensors", expert[0])


def test_every_layer_of_the_released_names_comes_back_from_underscores():
    layers = {name.rpartition(".")[0] for name in weights_of(WanModel, CONFIG) if mixed(name) or "." in name}
    for name in layers - {"head"}:
        assert plain_name(f"lora_unet_{flat(name)}") == name
