"""Every layout of released files gives the same model; what config a file is built from; what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from tests.wan.checkpoints import assert_same, prefixed, randomised, save_shards, write_config
from tests.wan.tiny_models import causal_config, causal_model, wan_model
from wan.config import CAUSAL_MODELS, UNIVERSAL, WAN_MODELS, CLIPConfig, T5Config, VAEConfig
from wan.files.checkpoint import (
    detect_mode,
    find_in,
    load_causal,
    load_clip,
    load_t5,
    load_tiny_vae,
    load_vae,
    load_wan,
    open_weights,
)
from wan.modules.causal_model import CausalWanModel
from wan.modules.clip import CLIPVision
from wan.modules.t5 import T5Encoder
from wan.modules.tiny_vae import TinyVAE
from wan.modules.vae import WanVAE

F32 = {"device": "cpu", "dtype": torch.float32}
MODES = ("universal", "gta_drive", "templerun")
TINY_CLIP = CLIPConfig(image_size=28, patch_size=14, dim=32, out_dim=16, num_heads=2, num_layers=3)
TINY_T5 = T5Config(vocab=50, dim=32, dim_attn=32, dim_ffn=48, num_heads=2, num_layers=2)
# without this a file with no config.json could only be of a released, that is a huge, size
TINY_EXPERT = wan_model().config


@pytest.fixture
def tiny_releases(monkeypatch):
    for mode in MODES:
        monkeypatch.setitem(CAUSAL_MODELS, mode, causal_config(mode, window=4))
    monkeypatch.setitem(WAN_MODELS, "t2v-A14B", TINY_EXPERT)
    monkeypatch.setitem(WAN_MODELS, "i2v-A14B", replace(TINY_EXPERT, model_type="i2v", in_dim=36))


# --- Matrix-Game ------------------------------------------------------------------------------------------------------


def save_causal(folder, mode, name="base_distill.safetensors"):
    folder.mkdir(exist_ok=True)
    tensors = causal_model(mode).state_dict()
    save_file(prefixed("model.", tensors), folder / name)
    return tensors


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by", ["folder", "file"])
def test_a_released_game_is_known_by_its_weights(tmp_path, tiny_releases, mode, by):
    tensors = save_causal(tmp_path, mode)
    # stale as the released ones are: of another mode, and silent about the window
    stale = {**json.loads(json.dumps(vars(UNIVERSAL), default=vars))}
    del stale["local_attn_size"]
    write_config(tmp_path, stale)
    model, found = load_causal(tmp_path if by == "folder" else tmp_path / "base_distill.safetensors", **F32)
    assert found == mode
    assert model.config == CAUSAL_MODELS[mode]
    assert_same(model, tensors)


def test_a_true_config_beside_the_weights_decides_what_shapes_cannot_tell(tmp_path, tiny_releases):
    save_causal(tmp_path, "universal")
    write_config(tmp_path, causal_config("universal", window=15))
    model, _ = load_causal(tmp_path, **F32)
    assert model.config.local_attn_size == 15


def test_a_small_game_needs_no_release_of_its_size(tmp_path):
    tensors = save_causal(tmp_path, "gta_drive")
    write_config(tmp_path, causal_config("gta_drive"))
    model, mode = load_causal(tmp_path, mode="gta_drive", **F32)
    assert mode == "gta_drive" and model.config == causal_config("gta_drive")
    assert_same(model, tensors)


def test_a_config_made_of_words_is_passed_over(tmp_path, tiny_releases):
    save_causal(tmp_path, "universal")
    write_config(tmp_path, causal_config("universal"), dim="wide", patch_size=["one", 2, 2])
    assert load_causal(tmp_path, **F32)[0].config == CAUSAL_MODELS["universal"]


def test_another_class_of_the_same_model_can_be_asked_for(tmp_path, tiny_releases):
    class Faster(CausalWanModel):
        pass

    save_causal(tmp_path, "universal")
    assert type(load_causal(tmp_path, cls=Faster, **F32)[0]) is Faster


def test_a_loaded_model_is_ready_to_run(tmp_path, tiny_releases):
    save_causal(tmp_path, "universal")
    model, _ = load_causal(tmp_path, device="cpu", dtype=torch.bfloat16)
    assert not model.training
    assert all(p.dtype is torch.bfloat16 and not p.requires_grad and not p.is_meta for p in model.parameters())


# --- Wan2.2 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("index", [True, False])
def test_official_experts_of_any_number_of_shards(tmp_path, count, index):
    expert = randomised(wan_model())
    save_shards(tmp_path, expert.state_dict(), count, index)
    write_config(tmp_path, expert.config, _class_name="WanModel")
    assert_same(load_wan(tmp_path, **F32), expert.state_dict())


def test_an_index_can_be_named_itself(tmp_path):
    expert = randomised(wan_model())
    save_shards(tmp_path, expert.state_dict(), 2)
    write_config(tmp_path, expert.config)
    assert_same(load_wan(tmp_path / "diffusion_pytorch_model.safetensors.index.json", **F32), expert.state_dict())


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_single_file_experts(tmp_path, tiny_releases, prefix, dtype):
    tensors = {name: t.to(dtype) for name, t in randomised(wan_model()).state_dict().items()}
    save_file(prefixed(prefix, tensors), tmp_path / "expert.safetensors")
    model = load_wan(tmp_path / "expert.safetensors", device="cpu", dtype=torch.bfloat16)
    assert_same(model, tensors)
    assert model.config == TINY_EXPERT


@pytest.mark.parametrize("suffix", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("rows", [True, False])
def test_scaled_fp8_is_scaled_back(tmp_path, tiny_releases, suffix, rows):
    tensors = randomised(wan_model()).state_dict()
    wanted = {}
    for name, tensor in list(tensors.items()):
        if tensor.ndim == 2:
            top = tensor.abs().amax(1, keepdim=True) if rows else tensor.abs().amax()
            scale = top / 448
            tensors[name] = (tensor / scale).to(torch.float8_e4m3fn)
            tensors[f"{name.removesuffix('.weight')}.{suffix}"] = scale.squeeze()
            tensors[f"{name.removesuffix('.weight')}.scale_input"] = torch.ones(())
            wanted[name] = tensors[name].float() * scale
        else:
            wanted[name] = tensor
    tensors["scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
    save_file(tensors, tmp_path / "expert.safetensors")
    assert_same(load_wan(tmp_path / "expert.safetensors", **F32), wanted)


@pytest.mark.parametrize("model_type, in_dim", [("t2v", 16), ("i2v", 36)])
def test_which_of_t2v_and_i2v_an_expert_is_shows_in_its_weights(tmp_path, tiny_releases, model_type, in_dim):
    expert = randomised(wan_model(in_dim=in_dim))
    save_file(expert.state_dict(), tmp_path / "expert.safetensors")
    write_config(tmp_path, replace(TINY_EXPERT, model_type="t2v"))  # beside i2v weights it is stale
    assert load_wan(tmp_path, model_type=model_type, **F32).config.model_type == model_type
    other = {"t2v": "i2v", "i2v": "t2v"}[model_type]
    with pytest.raises(ValueError, match=f"is a {model_type} expert, not {other}"):
        load_wan(tmp_path, model_type=other, **F32)


# --- encoders and decoders --------------------------------------------------------------------------------------------


def small_files():
    """Official tensors, what loads them, a true config or None, and what else is in such files."""
    vae = VAEConfig(dim=4)
    clip = randomised(CLIPVision(TINY_CLIP)).state_dict()
    beside_clip = {
        "visual.head": torch.ones(32, 16),
        "visual.post_norm.weight": torch.ones(32),
        "visual.transformer.2.norm1.weight": torch.ones(32),
        "textual.token_embedding.weight": torch.ones(2, 2),
        "log_scale": torch.ones(()),
    }
    return {
        "vae": (randomised(WanVAE(vae)).state_dict(), load_vae, vae, "", {}),
        "t5": (randomised(T5Encoder(TINY_T5)).state_dict(), load_t5, TINY_T5, "", {}),
        "clip": (clip, load_clip, TINY_CLIP, "visual.", beside_clip),
        "tiny_vae": (randomised(TinyVAE()).state_dict(), load_tiny_vae, None, "", {}),
    }


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("what", ["vae", "t5", "clip", "tiny_vae"])
def test_encoders_and_decoders(tmp_path, what, suffix):
    tensors, load, config, prefix, beside = small_files()[what]
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)({**prefixed(prefix, tensors), **beside}, path)
    if config:
        write_config(tmp_path, config)
    assert_same(load(path, **F32), tensors)


def test_loaded_weights_are_memory_of_their_own(tmp_path):
    tensors = randomised(T5Encoder(TINY_T5)).state_dict()
    torch.save(tensors, tmp_path / "t5.pth")
    write_config(tmp_path, TINY_T5)
    model = load_t5(tmp_path / "t5.pth", **F32)
    (tmp_path / "t5.pth").write_bytes(b"\0" * (tmp_path / "t5.pth").stat().st_size)
    assert_same(model, tensors)


# --- strictness -------------------------------------------------------------------------------------------------------


def refusal(tmp_path, tensors, load=load_wan):
    save_file(tensors, tmp_path / "expert.safetensors")
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "expert.safetensors", **F32)
    message = str(caught.value)
    assert str(tmp_path / "expert.safetensors") in message and "\n" not in message
    return message


def test_missing_and_unexpected_tensors_are_told_in_one_error(tmp_path, tiny_releases):
    tensors = wan_model().state_dict()
    for name in [name for name in tensors if ".ffn." in name]:
        tensors[f"lora.{name}"] = tensors.pop(name)
    message = refusal(tmp_path, tensors)
    assert (
        "does not fit WanModel: 8 missing (blocks.0.ffn.0.weight, blocks.0.ffn.0.bias, blocks.0.ffn.2.weight and 5"
        in message
    )
    assert "8 unexpected (lora.blocks.0.ffn.0.bias" in message


def test_a_wrong_shape_is_told_with_both_shapes(tmp_path, tiny_releases):
    tensors = wan_model().state_dict()
    tensors["blocks.1.ffn.0.bias"] = torch.zeros(95)
    assert "1 misshapen (blocks.1.ffn.0.bias is (95,), not (96,))" in refusal(tmp_path, tensors)


def test_quantised_integers_are_not_weights(tmp_path, tiny_releases):
    tensors = wan_model().state_dict()
    tensors["blocks.0.ffn.0.weight"] = tensors["blocks.0.ffn.0.weight"].to(torch.int8)
    assert "1 not floating point (blocks.0.ffn.0.weight)" in refusal(tmp_path, tensors)


def test_a_tensor_under_two_names_is_unexpected_once(tmp_path, tiny_releases):
    tensors = prefixed("model.", wan_model().state_dict())
    tensors["patch_embedding.bias"] = tensors["model.patch_embedding.bias"].clone()
    assert "1 unexpected" in refusal(tmp_path, tensors)


def test_a_file_of_something_else_says_what_it_is(tmp_path, tiny_releases):
    assert "holds a Matrix-Game model; a Wan2.2 expert is needed" in refusal(tmp_path, causal_model().state_dict())
    assert "holds a Wan2.2 expert; a video VAE is needed" in refusal(tmp_path, wan_model().state_dict(), load_vae)
    assert "holds no model known here (its tensors: a, b)" in refusal(
        tmp_path, {"a": torch.ones(1), "b": torch.ones(1)}
    )


def test_the_wrong_game_is_named(tmp_path, tiny_releases):
    save_causal(tmp_path, "templerun")
    with pytest.raises(ValueError, match="is a templerun model, not universal"):
        load_causal(tmp_path, mode="universal", **F32)


def test_a_game_of_no_known_kind_is_refused(tmp_path):
    tensors = causal_model("templerun").state_dict()
    for block in (0, 2):
        name = f"blocks.{block}.action_model.keyboard_embed.0.weight"
        tensors[name] = torch.zeros(tensors[name].shape[0], 9)
    save_file(tensors, tmp_path / "game.safetensors")
    with pytest.raises(ValueError, match="has 9 keys and no mouse"):
        detect_mode(open_weights(tmp_path / "game.safetensors"))


def test_a_dtype_that_holds_no_weights_is_refused(tmp_path, tiny_releases):
    save_file(wan_model().state_dict(), tmp_path / "expert.safetensors")
    with pytest.raises(ValueError, match=r"cannot be loaded as torch\.int8; ask for bfloat16"):
        load_wan(tmp_path, device="cpu", dtype=torch.int8)


# --- places -----------------------------------------------------------------------------------------------------------


def test_places_of_all_releases(tmp_path):
    original, diffusers, game = tmp_path / "original", tmp_path / "diffusers", tmp_path / "game"
    for place in ("high_noise_model", "low_noise_model", "google/umt5-xxl"):
        (original / place).mkdir(parents=True)
    for file in ("models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/tokenizer.json", "Wan2.1_VAE.pth"):
        (original / file).touch()
    for place in ("transformer", "transformer_2", "text_encoder", "tokenizer", "vae"):
        (diffusers / place).mkdir(parents=True)
    (diffusers / "tokenizer/tokenizer.json").touch()
    (game / "gta_distilled_model").mkdir(parents=True)
    (game / "Wan2.1_VAE.pth").touch()
    needed = ("high_noise", "low_noise", "text_encoder", "tokenizer", "vae")
    assert find_in(original, *needed)["low_noise"] == original / "low_noise_model"
    assert find_in(diffusers, *needed)["low_noise"] == diffusers / "transformer_2"
    assert find_in(game) == {"gta_drive": game / "gta_distilled_model", "vae": game / "Wan2.1_VAE.pth"}
    with pytest.raises(FileNotFoundError, match=r"lacks clip \(models_clip_open.*; download the rest"):
        find_in(game, "gta_drive", "vae", "clip")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_in(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is a file; the folder"):
        find_in(game / "Wan2.1_VAE.pth")
