"""`wan22` on the files that people have: ComfyUI's folder, files named one by one, what the Hugging Face cache holds."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mgcli import wan22_app
from mgcli.app.errors import run
from mgcli.video.checkpoints import checkpoint_here
from mgcli.video.request import wan22_request
from mgcli.video.run import find_files
from tests.tiny_checkpoints import WORDS, single_file, spiece_model, text_encoder_key, write_comfyui, write_wan22
from wan22.config import PARTS
from wan22.places import Places

TINY = [
    "--size",
    "64*32",
    "--any_size",
    "--frame_num",
    "5",
    "--sample_steps",
    "4",
    "--device",
    "cpu",
    "--base_seed",
    "1",
]
Call = Callable[..., tuple[int, dict, str]]


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("official")
    return {kind: write_wan22(root / kind, kind) for kind in ("t2v", "i2v")}


@pytest.fixture
def comfyui(official, tmp_path) -> Path:
    return write_comfyui(tmp_path / "ComfyUI" / "models", official["t2v"])


@pytest.fixture
def wan22(tmp_path, capsys, monkeypatch) -> Call:
    """A tiny `wan22 t2v` -> code, what it reports, what it says. Nothing is found on the machine that runs the tests."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "COMFYUI_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MG_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments, command: str = "t2v") -> tuple[int, dict, str]:
        given = ["--prompt", "a cat", "--save_file", tmp_path / "a.mp4", "--save_latents", "--overwrite", "--json"]
        code = run(wan22_app.app, [command, *map(str, [*arguments, *given]), *TINY])
        shown = capsys.readouterr()
        return code, json.loads(shown.out), shown.err

    return call


@pytest.fixture(scope="module")
def wanted(official, tmp_path_factory) -> torch.Tensor:
    """The latents of the official folder."""
    file = tmp_path_factory.mktemp("wanted") / "a.mp4"
    given = ["--prompt", "a cat", "--save_file", str(file), "--save_latents", "--ckpt_dir", str(official["t2v"])]
    assert run(wan22_app.app, ["t2v", *given, *TINY]) == 0
    return load_file(file.with_suffix(".safetensors"))["latents"]


def found(**flags) -> Places:
    """Where the parts are that such flags mean."""
    return find_files(wan22_request({"prompt": "a star", **flags}, "t2v-A14B"))


def latents(data: dict) -> torch.Tensor:
    return load_file(data["videos"][0]["latents"])["latents"]


def files_of(folder: Path) -> dict[str, Path]:
    """Every part of `write_comfyui` by its name."""
    experts, encoder = folder / "diffusion_models", folder / "text_encoders" / "umt5_xxl_fp16.safetensors"
    return {
        "high_noise": experts / "wan2.2_t2v_high_noise_14B_fp16.safetensors",
        "low_noise": experts / "wan2.2_t2v_low_noise_14B_fp16.safetensors",
        "text_encoder": encoder,
        "tokenizer": encoder,
        "vae": folder / "vae" / "wan_2.1_vae.safetensors",
    }


def flags(files: dict[str, Path], *names: str) -> list[str]:
    return [word for name in names or files for word in (f"--{name}", str(files[name]))]


def test_comfyui_s_folder_makes_the_same_video(wan22, comfyui, wanted):
    for folder in (comfyui, comfyui.parent):
        code, data, err = wan22("--ckpt_dir", folder)
        assert code == 0, err
        assert torch.equal(latents(data), wanted)
    [line] = [line for line in err.splitlines() if ": high_noise " in line]
    assert (
        f"{comfyui.parent}: high_noise models/diffusion_models/wan2.2_t2v_high_noise_14B_fp16.safetensors, low" in line
    )
    assert "tokenizer in the text encoder, vae models/vae/wan_2.1_vae.safetensors" in line


def test_the_record_holds_what_was_chosen_and_makes_it_again(wan22, comfyui, wanted, tmp_path):
    code, data, err = wan22("--ckpt_dir", comfyui)
    record = json.loads((tmp_path / "a.json").read_text())
    files = {name: str(path) for name, path in files_of(comfyui).items()}
    assert record["files"] == files and record["checkpoint"] == str(comfyui)
    assert {name: record["request"][name] for name in PARTS} == files
    # a better one that came since is not taken
    (comfyui / "unet").mkdir()
    better = {name: tensor.double() for name, tensor in load_file(files["high_noise"]).items()}
    save_file(better, comfyui / "unet" / "wan2.2_t2v_high_noise_14B_fp64.safetensors")
    shutil.move(tmp_path / "a.json", tmp_path / "b.json")
    code, data, err = wan22("--config_path", tmp_path / "b.json")
    assert code == 0 and torch.equal(latents(data), wanted), err


def test_files_named_one_by_one_need_no_folder(wan22, comfyui, official, wanted):
    files = files_of(comfyui)
    code, data, err = wan22(*flags(files, "high_noise", "low_noise", "text_encoder", "vae"))
    assert code == 0 and torch.equal(latents(data), wanted), err
    assert "tokenizer in the text encoder" in err and data["videos"][0]["checkpoint"] is None
    tokenizer = official["t2v"] / "google" / "umt5-xxl" / "tokenizer.json"
    code, data, err = wan22(*flags(files | {"tokenizer": tokenizer}))
    assert code == 0 and torch.equal(latents(data), wanted) and f"tokenizer {tokenizer}" in err


def test_a_file_named_beside_a_folder_takes_the_place_of_its_own(wan22, official, tmp_path, wanted):
    other = write_wan22(tmp_path / "other")  # the same weights
    weights = other / "low_noise_model" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 1.1 for name, tensor in load_file(weights).items()}, weights)
    code, data, err = wan22("--ckpt_dir", official["t2v"], "--low_noise", weights)
    assert code == 0 and not torch.equal(latents(data), wanted), err
    assert f"low_noise {weights}, text_encoder text_encoder, tokenizer google/umt5-xxl/tokenizer.json" in err
    request = json.loads((tmp_path / "a.json").read_text())["request"]
    assert request["low_noise"] == str(weights) and request["high_noise"] is None
    # a preset may say it, and a folder given as a flag says it anew
    (tmp_path / "low.yaml").write_text(f"ckpt_dir: {official['t2v']}\nlow_noise: {weights}\n")
    preset = str(tmp_path / "low.yaml")
    assert found(config_path=preset).low_noise == weights
    assert found(config_path=preset, ckpt_dir=official["t2v"]).low_noise == official["t2v"] / "low_noise_model"


def test_files_lying_together_are_told_apart(wan22, official, comfyui, wanted, tmp_path):
    """One folder without shelves, among files of other models."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(comfyui.rglob("*.safetensors")):
        (flat / str(i)).mkdir()
        shutil.copytree(path.parent, flat / str(i), dirs_exist_ok=True, ignore=lambda _, names, keep=path.name: {n for n in names if n not in (keep, "config.json")})  # fmt: skip
    save_file({"lora.down": torch.zeros(2, 2)}, flat / "wan2.2_t2v_high_noise_lora.safetensors")
    (flat / "readme.txt").write_text("mine")
    code, data, err = wan22("--ckpt_dir", flat)
    assert code == 0 and torch.equal(latents(data), wanted), err


def test_the_environment_names_comfyui_s_folder(wan22, comfyui, official, wanted, monkeypatch):
    monkeypatch.setenv("COMFYUI_MODELS", str(comfyui))
    code, data, err = wan22()
    assert code == 0 and torch.equal(latents(data), wanted), err
    assert found(vae=official["t2v"] / "vae").low_noise == files_of(comfyui)["low_noise"]
    # files may come and go while a process lives
    low, away = files_of(comfyui)["low_noise"], comfyui.parent / "low.safetensors"
    low.rename(away)
    assert checkpoint_here("t2v-A14B") is None
    away.rename(low)
    assert checkpoint_here("t2v-A14B") == comfyui


def test_a_folder_without_this_model_is_passed_over_in_words(wan22, official, tmp_path, monkeypatch):
    folder = write_comfyui(tmp_path / "models_of_i2v", official["i2v"], "i2v")
    monkeypatch.setenv("COMFYUI_MODELS", str(folder))
    code, data, err = wan22()
    assert code == 2 and "the mini" in data["error"]  # which knows no cats
    code, data, err = wan22("--ckpt_dir", folder)
    assert code == 2 and "has no high-noise expert or low-noise expert of t2v-A14B" in data["error"]
    assert data["error"].endswith("(--high_noise, --low_noise)")


def test_image_to_video_takes_its_own_from_a_folder_of_both(wan22, official, tmp_path):
    folder = write_comfyui(write_comfyui(tmp_path / "models_of_both", official["t2v"]), official["i2v"], "i2v")
    Image.new("RGB", (64, 32), (90, 20, 40)).save(tmp_path / "start.png")
    made = []
    for place in (official["i2v"], folder):
        code, data, err = wan22("--ckpt_dir", place, "--image", tmp_path / "start.png", command="i2v")
        assert code == 0, err
        made.append(latents(data))
    assert torch.equal(*made)
    assert "high_noise diffusion_models/wan2.2_i2v_high_noise_14B_fp16.safetensors" in err


def test_a_release_in_the_hugging_face_cache_is_found(wan22, official, wanted, tmp_path, monkeypatch):
    from mgcli.app.models import MODELS, Model

    snapshots = tmp_path / "hf" / "hub" / "models--Wan-AI--Wan2.2-T2V-A14B" / "snapshots"
    shutil.copytree(official["t2v"], snapshots / "abc")
    whole = ("high_noise_model/*.safetensors", "low_noise_model/*.safetensors", "google/umt5-xxl/tokenizer.json")
    monkeypatch.setitem(MODELS, "t2v-A14B", Model("Wan-AI/Wan2.2-T2V-A14B", "Wan2.2-T2V-A14B", whole))
    code, data, err = wan22()
    assert code == 0 and torch.equal(latents(data), wanted), err
    assert data["videos"][0]["checkpoint"] == str(snapshots / "abc")
    assert found() == found(ckpt_dir=Path("t2v-A14B"))
    shutil.rmtree(snapshots / "abc" / "low_noise_model")
    code, data, err = wan22()
    assert code == 2 and "the mini" in data["error"]


def test_a_model_by_its_name(wan22, official, wanted, tmp_path):
    for name in ("t2v-A14B-fp8", "t2v-A14B-Q4_K_M"):
        code, data, err = wan22("--ckpt_dir", name)
        assert code == 2 and f"`wan22 download {name}` fetches it" in data["error"]
    folder = write_comfyui(tmp_path / "models" / "Wan_2.2_ComfyUI_Repackaged" / "split_files", official["t2v"])
    for file in [*folder.rglob("*fp16*")]:
        name = file.name.replace("umt5_xxl_fp16", "umt5_xxl_fp8_e4m3fn_scaled").replace("_fp16", "_fp8_scaled")
        file.rename(file.with_name(name))
    code, data, err = wan22("--ckpt_dir", "t2v-A14B-fp8")
    assert code == 0 and torch.equal(latents(data), wanted), err
    assert found() == found(ckpt_dir=Path("t2v-A14B-fp8"))


def test_what_is_wrong_is_one_line(wan22, comfyui, official, tmp_path):
    files = files_of(comfyui)
    bare = single_file(official["t2v"] / "text_encoder", tmp_path / "bare" / "umt5.safetensors", text_encoder_key)
    vace = tmp_path / "vace_high_noise.safetensors"
    save_file(
        load_file(files["high_noise"]) | {"model.diffusion_model.vace_blocks.0.after_proj.weight": torch.zeros(2)}, vace
    )
    lora = tmp_path / "lora.safetensors"
    save_file({"diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.zeros(2, 2)}, lora)
    swapped = {"high_noise": files["low_noise"], "low_noise": files["high_noise"]}
    for changed, said in [
        ({"vae": files["text_encoder"]}, "holds a UMT5 text encoder; a video VAE is needed here"),
        ({"text_encoder": files["vae"]}, "holds a video VAE; a UMT5 text encoder is needed here"),
        ({"high_noise": files["vae"]}, "holds a video VAE; a Wan2.2 expert is needed here"),
        ({"tokenizer": files["vae"]}, "carries no tokenizer"),
        ({"low_noise": files["high_noise"]}, "the low-noise expert is"),
        (swapped, "the two are swapped; exchange them"),
        ({"high_noise": vace}, "vace_blocks.0.after_proj.weight): another model of the family"),
        ({"high_noise": lora}, "holds no model known here"),
        ({"vae": tmp_path / "nowhere"}, f"no such file or folder: {tmp_path / 'nowhere'} (--vae)"),
    ]:
        code, data, err = wan22(*flags(files | changed))
        assert code == 2 and said in data["error"] and "\n" not in data["error"], (changed, data)
    code, data, err = wan22("--ckpt_dir", files["vae"])
    assert code == 2 and "is a file, one part of five" in data["error"]
    for names, said in [
        (("high_noise", "low_noise", "text_encoder"), "no VAE is named, and no folder to look in (--ckpt_dir, --vae)"),
        (("vae",), "no high-noise expert or low-noise expert or text encoder or tokenizer is named"),
    ]:
        code, data, err = wan22(*flags(files, *names))
        assert code == 2 and said in data["error"], data
    code, data, err = wan22(*flags(files | {"text_encoder": bare}, "high_noise", "low_noise", "text_encoder", "vae"))
    assert code == 2 and "no tokenizer is named, and no folder to look in (--ckpt_dir, --tokenizer)" in data["error"]


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("diffusion_models/*low*", "has no low-noise expert of t2v-A14B (--low_noise)"),
        ("text_encoders/*", "has no text encoder of t2v-A14B (--text_encoder)"),
        ("vae/*", "has no VAE of t2v-A14B (--vae)"),
        ("*/*", "no high-noise expert or low-noise expert or text encoder or VAE of"),
    ],
)
def test_what_a_folder_lacks_is_named_with_its_flag(wan22, comfyui, gone, said):
    files = files_of(comfyui)
    for path in comfyui.glob(gone):
        path.unlink()
    code, data, err = wan22("--ckpt_dir", comfyui)
    assert code == 2 and said in data["error"], data
    if "low" in gone:
        files["low_noise"].write_bytes(files["high_noise"].read_bytes()[:-10])
        code, data, err = wan22("--ckpt_dir", comfyui)
        assert code == 2 and "not read: " in data["error"] and "download is incomplete" in data["error"]


def test_two_that_are_equal_are_a_question(wan22, comfyui):
    high = files_of(comfyui)["high_noise"]
    shutil.copy(high, high.with_name("my_t2v_HighNoise_finetune.safetensors"))
    code, data, err = wan22("--ckpt_dir", comfyui)
    assert code == 2 and "equal in size: say which one is meant (--high_noise)" in data["error"]
    assert "my_t2v_HighNoise_finetune.safetensors" in data["error"]
    code, data, err = wan22("--ckpt_dir", comfyui, "--high_noise", high)
    assert code == 0, err


def test_a_pair_stored_differently_is_taken_and_said(wan22, comfyui):
    low = files_of(comfyui)["low_noise"]
    save_file({name: tensor.bfloat16() for name, tensor in load_file(low).items()}, low)
    code, data, err = wan22("--ckpt_dir", comfyui)
    assert code == 0 and "the two experts are stored differently" in err
    # one that was named has the other of its kind beside it
    high = files_of(comfyui)["high_noise"]
    half = comfyui / "unet" / "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
    half.parent.mkdir()
    save_file({name: tensor.bfloat16() for name, tensor in load_file(high).items()}, half)
    best = low.with_name("wan2.2_t2v_low_noise_14B_fp32.safetensors")
    save_file({name: tensor.float() for name, tensor in load_file(low).items()}, best)
    assert found(ckpt_dir=comfyui).experts == {"high": high, "low": best}
    assert found(ckpt_dir=comfyui, high_noise=half).low_noise == low
    assert found(ckpt_dir=comfyui, low_noise=low).high_noise == half


def test_gguf_files_on_comfyui_s_shelves(wan22, official, tmp_path, wanted):
    """The experts, and a text encoder with its tokenizer among its facts; the smaller size is not taken."""
    gguf = pytest.importorskip("gguf", reason="the independent writer of these files")
    models = tmp_path / "models_of_gguf"
    write_comfyui(models, official["t2v"])
    for path in [
        *(models / "diffusion_models").glob("*.safetensors"),
        *(models / "text_encoders").glob("*.safetensors"),
    ]:
        path.unlink()
    for noise in ("High", "Low"):
        state = load_file(official["t2v"] / f"{noise.lower()}_noise_model" / "diffusion_pytorch_model.safetensors")
        for size in ("F32", "F16"):
            file = models / "unet" / f"{noise}Noise" / f"Wan2.2-T2V-A14B-{noise}Noise-{size}.gguf"
            write_gguf_file(gguf, file, "wan", state, rounded=size == "F16")
            shutil.copy(models / "diffusion_models" / "config.json", file.parent)
    state = load_file(official["t2v"] / "text_encoder" / "model.safetensors")
    names = {llama_name(name): tensor for name, tensor in state.items()}
    write_gguf_file(gguf, models / "clip" / "umt5-xxl-encoder-F32.gguf", "t5encoder", names, tokens=WORDS)
    shutil.copy(models / "text_encoders" / "config.json", models / "clip")
    code, data, err = wan22("--ckpt_dir", models)
    assert code == 0 and torch.equal(latents(data), wanted), err
    assert "high_noise unet/HighNoise/Wan2.2-T2V-A14B-HighNoise-F32.gguf" in err
    # the two of a model may be of different kinds
    high = official["t2v"] / "high_noise_model"
    code, data, err = wan22("--ckpt_dir", models, "--high_noise", high)
    assert code == 0 and torch.equal(latents(data), wanted), err


def write_gguf_file(gguf, path: Path, architecture: str, state, rounded: bool = False, tokens=()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    for name, tensor in state.items():
        if tensor.dim() > 4:  # as files have it: the format ends at four axes
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(tensor.shape))
            tensor = tensor.flatten(1)
        writer.add_tensor(name, tensor.half().numpy() if rounded and tensor.dim() > 1 else tensor.numpy())
    if tokens:
        writer.add_tokenizer_model("t5")
        writer.add_token_list(list(tokens))
        writer.add_token_scores([-float(i) for i in range(len(tokens))])
        writer.add_token_types([3, 3, 2] + [1] * (len(tokens) - 3))
        writer.add_unk_token_id(2)
    from tests.wan.files.gguf_files import finish  # which needs the package

    finish(writer)


def llama_name(name: str) -> str:
    """Of a tensor of the text encoder, in the words of llama.cpp."""
    for ours, theirs in (
        (".pos_embedding.embedding.", ".attn_rel_b."), ("token_embedding.", "token_embd."), (".norm1.", ".attn_norm."),
        (".norm2.", ".ffn_norm."), (".attn.", ".attn_"), (".ffn.gate.0.", ".ffn_gate."), (".ffn.fc1.", ".ffn_up."),
        (".ffn.fc2.", ".ffn_down."), ("blocks.", "enc.blk."),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return "enc.output_norm.weight" if name == "norm.weight" else name


def test_plan_takes_the_same_flags(wan22, capsys):
    assert run(wan22_app.app, ["plan", "--high_noise", "somewhere.gguf", "--vae", "x", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]


def test_a_text_encoder_without_a_tokenizer_finds_one_beside_it(wan22, comfyui, official, wanted):
    files = files_of(comfyui)
    single_file(official["t2v"] / "text_encoder", files["text_encoder"], text_encoder_key)
    code, data, err = wan22("--ckpt_dir", comfyui)
    assert code == 2 and "carries a tokenizer; name a tokenizer.json (--tokenizer)" in data["error"]
    spiece = comfyui.parent / "spiece.model"
    spiece.write_bytes(spiece_model())
    code, data, err = wan22("--ckpt_dir", comfyui, "--tokenizer", spiece)
    assert code == 0 and torch.equal(latents(data), wanted), err
