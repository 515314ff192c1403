"""Which file among many is which part: by tensors, by name where tensors say nothing, and the best of several."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_checkpoints import COMFYUI_NAMES, TINY_T5, single_file, text_encoder_key, write_comfyui, write_wan22
from wan.files.single_files import PartFile, Shelf, noise_of, the_one, the_pair, weights_under
from wan.refusal import Refusal


@pytest.mark.parametrize(
    ("name", "noise"),
    [
        ("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "high"),
        ("wan2.2_i2v_low_noise_14B_fp16.safetensors", "low"),
        ("Wan2_2-T2V-A14B_HIGH_fp8_e4m3fn_scaled_KJ.safetensors", "high"),
        ("Wan2.2-I2V-A14B-LowNoise-Q4_K_M.gguf", "low"),
        ("smoothMix_t2vHigh.safetensors", "high"),
        ("wan22_highnoise_low_vram.safetensors", "high"),
        ("high_noise_model", "high"),
        ("HighNoise/Wan2.2-A14B-Q4_K_M.gguf", "high"),
        ("low/wan.safetensors", "low"),
        ("low_vram_models/wan.safetensors", None),
        ("high_low_merge.safetensors", None),
        ("slow_flow_highway.safetensors", None),
        ("wan2.1_t2v_14B_fp16.safetensors", None),
        ("transformer_2", None),
    ],
)
def test_which_expert_a_name_says(name, noise):
    assert noise_of(Path("/models") / name) == noise


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("official")
    return {kind: write_wan22(root / kind, kind) for kind in ("t2v", "i2v")}


@pytest.fixture
def comfyui(official, tmp_path) -> Path:
    """Both kinds side by side."""
    folder = write_comfyui(tmp_path / "models", official["t2v"])
    experts = folder / "diffusion_models" / "i2v"
    for noise, name in COMFYUI_NAMES.items():
        single_file(official["i2v"] / f"{noise}_noise_model", experts / f"{name.format('i2v')}.safetensors")
    return folder


def names(files: list[PartFile]) -> list[str]:
    return [file.path.name for file in files]


def test_kinds_are_told_apart_by_their_channels(comfyui):
    shelf = Shelf(comfyui)
    for kind, channels in (("t2v", 16), ("i2v", 36)):
        for noise, name in COMFYUI_NAMES.items():
            assert names(shelf.experts(noise, channels)) == [f"{name.format(kind)}.safetensors"]
    # a name that says otherwise changes nothing
    experts = comfyui / "diffusion_models"
    (experts / "wan2.2_t2v_high_noise_14B_fp16.safetensors").rename(experts / "wan2.2_i2v_high_noise.safetensors")
    assert names(Shelf(comfyui).experts("high", 16)) == ["wan2.2_i2v_high_noise.safetensors"]


def test_other_models_of_the_family_are_none(comfyui):
    experts = comfyui / "diffusion_models"
    plain = load_file(experts / "wan2.2_t2v_high_noise_14B_fp16.safetensors")
    front = "model.diffusion_model."
    bigger = {name: tensor.double() for name, tensor in plain.items()}  # each would be taken for its size
    for name, tensors in {
        "wan2.2_fun_vace_high_noise_14B": bigger | {f"{front}vace_blocks.0.norm3.weight": torch.zeros(2)},
        "wan2.2_animate_high_noise": bigger | {f"{front}pose_patch_embedding.weight": torch.zeros(2)},
        "wan2.1_i2v_high_noise": bigger | {f"{front}img_emb.proj.1.weight": torch.zeros(2)},
        "wan2.2_fun_inpaint_high_noise_14B": bigger,
        "Wan2.2-Fun-A14B-InP-high-noise": bigger,
        "wan2.2_ti2v_5B_high_noise": bigger | {f"{front}patch_embedding.weight": torch.zeros(48, 48, 1, 2, 2)},
        "wan2.2_t2v_lightx2v_4steps_lora_high_noise": {
            "diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.zeros(2)
        },
    }.items():
        save_file(tensors, experts / f"{name}.safetensors")
    assert names(Shelf(comfyui).experts("high", 16)) == ["wan2.2_t2v_high_noise_14B_fp16.safetensors"]


def test_a_t5_of_another_family_is_no_umt5(comfyui):
    encoder = comfyui / "text_encoders" / "umt5_xxl_fp16.safetensors"
    shared = {name: t.double() for name, t in load_file(encoder).items() if t.is_floating_point()}
    for i in range(1, TINY_T5.num_layers):
        del shared[text_encoder_key(f"blocks.{i}.pos_embedding.embedding.weight")]
    save_file(shared, comfyui / "text_encoders" / "t5xxl_fp32.safetensors")
    assert names(Shelf(comfyui).text_encoders()) == ["umt5_xxl_fp16.safetensors"]


def test_a_vae_of_another_family_comes_after_ours(comfyui):
    vae = comfyui / "vae" / "wan_2.1_vae.safetensors"
    larger = {name: tensor.double() for name, tensor in load_file(vae).items()}
    for name in ("qwen_image_vae", "wan_alpha_2.1_vae_rgb_channel"):
        save_file(larger, vae.with_name(f"{name}.safetensors"))
    assert names(Shelf(comfyui).vaes()) == ["wan_2.1_vae.safetensors"]
    vae.unlink()
    assert len(Shelf(comfyui).vaes()) == 2


def test_shards_links_and_other_shelves_are_left_alone(comfyui, tmp_path):
    vae = comfyui / "vae" / "wan_2.1_vae.safetensors"
    (comfyui / "clip").symlink_to(comfyui / "text_encoders")
    (comfyui / "loras").mkdir()
    (comfyui / "loras" / "wan_high_noise.safetensors").write_bytes(vae.read_bytes())
    (comfyui / "vae" / "model-00001-of-00002.safetensors").write_bytes(vae.read_bytes())
    (comfyui / "vae" / "broken.safetensors").write_bytes(b"")
    assert len(weights_under(comfyui)) == 4 + 1 + 1 + 1  # experts, text encoder, VAE, the broken one
    shelf = Shelf(comfyui)
    assert [path.name for path in shelf.unread] == ["broken.safetensors"]
    assert names(shelf.vaes()) == [vae.name]
    assert weights_under(comfyui.parent) == weights_under(comfyui)
    deep = tmp_path / "a" / "b" / "c" / "d" / "e"
    deep.mkdir(parents=True)
    (deep / "vae.safetensors").write_bytes(vae.read_bytes())
    assert weights_under(tmp_path / "a") == []


def part(name: str, size: int) -> PartFile:
    return PartFile(Path(name), size)


def test_the_pair_is_of_one_format_where_it_can_be():
    """Sizes as published, in MB."""
    fp16, fp8, q8, q4m, q4s = 28600, 14300, 15400, 9650, 8750
    high = [part("h16", fp16), part("h8", q8), part("hf", fp8), part("h4m", q4m)]
    low = [part("l8", q8 + 10), part("lf", fp8), part("l4s", q4s)]
    assert the_pair(high, low) == (Path("h8"), Path("l8"))
    assert the_pair(high[2:], low[1:]) == (Path("hf"), Path("lf"))
    assert the_pair(high[3:], low[2:]) == (Path("h4m"), Path("l4s"))
    assert the_pair(high[:1], low[2:]) == (Path("h16"), Path("l4s"))
    with pytest.raises(Refusal, match="hf, hx are equal in size") as refused:
        the_pair([part("hf", fp8), part("hx", fp8 + 20)], low[1:])
    assert refused.value.settings == ("high_noise",)
    with pytest.raises(Refusal, match="a, b are equal in size: say which"):
        the_one("vae", [part("a", 254), part("b", 254), part("c", 100)])
