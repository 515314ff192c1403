"""LoRA files on the command line: which expert gets them, what is said and recorded, and what is refused before anything loads."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mgcli import wan22_app
from mgcli.app.errors import run
from mgcli.video.request import wan22_request
from tests.tiny_checkpoints import write_wan22
from wan.config import WAN_MODELS

TINY = [
    "--size",
    "96*64",
    "--any_size",
    "--frame_num",
    "5",
    "--sample_steps",
    "4",
    "--device",
    "cpu",
    "--base_seed",
    "3",
]
LAYERS = {"self_attn_q": (48, 48), "cross_attn_v": (48, 48), "ffn_0": (96, 48), "ffn_2": (48, 96)}


def write_lora(path, layers=LAYERS, rank=2):
    torch.manual_seed(1)
    made = {}
    for name, (rows, columns) in layers.items():
        made[f"lora_unet_blocks_1_{name}.lora_down.weight"] = torch.randn(rank, columns)
        made[f"lora_unet_blocks_1_{name}.lora_up.weight"] = torch.randn(rows, rank)
        made[f"lora_unet_blocks_1_{name}.alpha"] = torch.tensor(1.0)
    save_file(made, path)
    return path


def with_it(folder, expert, lora, strength):
    """The checkpoint itself changed by hand."""
    file = folder / f"{expert}_noise_model" / "diffusion_pytorch_model.safetensors"
    tensors, factors = load_file(file), load_file(lora)
    for name in LAYERS:
        flat = f"lora_unet_blocks_1_{name}"
        official = name.replace("attn_", "attn.").replace("ffn_", "ffn.")
        up, down = factors[f"{flat}.lora_up.weight"], factors[f"{flat}.lora_down.weight"]
        tensors[f"blocks.1.{official}.weight"] += strength * 0.5 * up @ down
    save_file(tensors, file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_wan22(tmp_path_factory.mktemp("loras") / "t2v")


@pytest.fixture
def t2v(folder, capsys, tmp_path):
    def call(name, *flags, at=folder):
        given = ["t2v", "--json", "--ckpt_dir", str(at), *TINY, "--prompt", "a cat", "--save_latents"]
        code = run(wan22_app.app, [*given, "--save_file", str(tmp_path / f"{name}.mp4"), *flags])
        shown = capsys.readouterr()
        file = tmp_path / f"{name}.safetensors"
        return code, load_file(file)["latents"] if code == 0 else json.loads(shown.out), shown.err

    return call


@pytest.mark.parametrize(
    ("flag", "experts"), [("lora", ("high", "low")), ("high_lora", ("high",)), ("low_lora", ("low",))]
)
def test_a_video_with_one_is_that_of_weights_changed_by_hand(t2v, tmp_path, flag, experts):
    lora = write_lora(tmp_path / "style.safetensors")
    code, made, err = t2v("a", f"--{flag}", f"{lora}:0.7")
    assert code == 0 and "a LoRA of rank 2, changes 4 tensors; strength 0.7 on " in err.replace("\n", " ")
    changed = write_wan22(tmp_path / "changed")
    for expert in experts:
        with_it(changed, expert, lora, 0.7)
    torch.testing.assert_close(made, t2v("b", at=changed)[1], rtol=1e-3, atol=1e-4)
    assert (made - t2v("c")[1]).abs().max() > 0.01


def test_the_record_names_it_and_makes_the_video_again(t2v, tmp_path, capsys):
    lora = write_lora(tmp_path / "style_low_noise.safetensors")
    _, made, _ = t2v("a", "--lora", str(lora), "--lora", f"{lora}:0", "--residency", "stream")
    record = json.loads((tmp_path / "a.json").read_text())
    digest = hashlib.sha256(lora.read_bytes()).hexdigest()
    known = {"file": str(lora), "sha256": digest, "expert": "low", "changes": 4, "left_out": 0}
    assert record["loras"] == [known | {"strength": 1.0}, known | {"strength": 0.0}]
    again = ["t2v", "--json", "--config_path", str(tmp_path / "a.json"), "--save_file", str(tmp_path / "b.mp4")]
    assert run(wan22_app.app, again) == 0, capsys.readouterr().err
    assert torch.equal(load_file(tmp_path / "b.safetensors")["latents"], made)
    assert torch.equal(t2v("d", "--residency", "both", "--low_lora", str(lora))[1], made)


def test_of_strength_0_it_is_not_there(t2v, tmp_path):
    lora = write_lora(tmp_path / "a_lora.safetensors")
    assert torch.equal(t2v("a", "--lora", f"{lora}:0")[1], t2v("b")[1])


def test_the_other_expert_s_is_used_and_said(t2v, tmp_path):
    lora = write_lora(tmp_path / "style_low_noise.safetensors")
    code, _, err = t2v("a", "--high_lora", str(lora))
    assert code == 0 and "seems made for the low-noise expert, and is used on the other" in " ".join(err.split())


def test_what_cannot_be_used_is_one_line(t2v, tmp_path):
    other = write_lora(tmp_path / "other.safetensors", {"ffn_0": (14336, 3072)}, rank=1)
    nothing = str(tmp_path / "none.safetensors")
    for text, said in (
        (str(other), "fits this model nowhere"), (nothing, "no such file"), (f"{other}:nan", "must be from -100"),
        (":1", "names no file"), (str(tmp_path), "is a folder"), (f"{other}:x", "no such file"),
    ):  # fmt: skip
        code, data, _ = t2v("a", "--lora", text)
        assert code == 2 and said in data["error"] and "\n" not in data["error"], data


def test_a_plan_holds_it_to_the_released_model(tmp_path, capsys):
    dim, ffn = WAN_MODELS["t2v-A14B"].dim, WAN_MODELS["t2v-A14B"].ffn_dim
    lora = write_lora(tmp_path / "style_high_noise.safetensors", {"ffn_0": (ffn, dim), "ffn_2": (dim, 7)}, rank=1)
    assert run(wan22_app.app, ["plan", "--json", "--lora", str(lora)]) == 0
    [told] = json.loads(capsys.readouterr().out)["loras"]
    assert (told["expert"], told["changes"], told["left_out"]) == ("high", 1, 3)


def test_a_preset_may_hold_lists(tmp_path):
    (tmp_path / "a.yaml").write_text("lora: [a.safetensors, 'C:\\b.safetensors:0.5']\nlow_lora: [c:-1]\n")
    request = wan22_request({"config_path": str(tmp_path / "a.yaml")}, only_planned=True)
    assert [(str(one.path), one.strength, one.expert) for one in request.loras] == [
        ("a.safetensors", 1.0, None), ("C:\\b.safetensors", 0.5, None), ("c", -1.0, "low"),
    ]  # fmt: skip
