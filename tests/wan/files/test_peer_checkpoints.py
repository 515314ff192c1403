"""Models made and saved by diffusers and transformers, opened by us: the same outputs from the files as they are."""

import pytest
import torch

from tests.wan.checkpoints import randomised
from wan.files.checkpoint import find_in, load_clip, load_t5, load_vae, load_wan

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

F32 = {"device": "cpu", "dtype": torch.float32}


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def assert_equal(got: torch.Tensor, want: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Relative to the largest value. The same float32 formulas in another order of sums."""
    assert got.shape == want.shape
    assert (got - want).abs().max() <= tolerance * want.abs().max()


@pytest.mark.parametrize("in_channels", [16, 36])
@pytest.mark.parametrize("shard", ["10GB", "100KB"])
@torch.no_grad()
def test_diffusers_expert(tmp_path, in_channels, shard):
    peer = diffusers.WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=in_channels, out_channels=16, text_dim=24, freq_dim=32,
        ffn_dim=96, num_layers=2,
    )  # fmt: skip
    randomised(peer).save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "100KB")
    model = load_wan(tmp_path, model_type="t2v" if in_channels == 16 else "i2v", **F32)
    x, y, t = noise(1, 16, 3, 4, 6), noise(1, 20, 3, 4, 6), torch.tensor([500.0])
    text = noise(1, model.config.text_len, 24)
    given = x if in_channels == 16 else torch.cat([x, y], dim=1)
    want = peer(given, t, text).sample
    # the peer makes its rope in float64 and its norms in another place: a few float32 steps more
    assert_equal(model(x, t, list(text), y if in_channels == 36 else None), want, 5e-5)


@pytest.mark.parametrize("num_res_blocks", [1, 2])
@torch.no_grad()
def test_diffusers_vae(tmp_path, num_res_blocks):
    torch.manual_seed(0)
    peer = diffusers.AutoencoderKLWan(base_dim=4, num_res_blocks=num_res_blocks).eval()
    peer.save_pretrained(tmp_path)
    model = load_vae(tmp_path, **F32)
    video, latents = noise(1, 3, 5, 16, 24).clamp(-1, 1), noise(1, 16, 2, 2, 3)
    mean, std = (torch.tensor(v).view(16, 1, 1, 1) for v in (peer.config.latents_mean, peer.config.latents_std))
    assert_equal(model.encode(video), (peer.encode(video).latent_dist.mean - mean) / std)
    # the peer clamps what it decodes
    assert_equal(model.decode(latents).clamp(-1, 1), peer.decode(latents * std + mean).sample)


@torch.no_grad()
def test_transformers_text_encoder(tmp_path):
    config = transformers.UMT5Config(vocab_size=50, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2)
    peer = randomised(transformers.UMT5EncoderModel(config))
    peer.save_pretrained(tmp_path)
    model = load_t5(tmp_path, **F32)
    ids, mask = torch.arange(2, 22).view(2, 10), torch.ones(2, 10, dtype=torch.long)
    mask[1, 6:] = 0
    text = mask.bool()
    assert_equal(model(ids, mask)[text], peer(ids, mask).last_hidden_state[text])


@pytest.mark.parametrize("cls", ["CLIPVisionModel", "CLIPVisionModelWithProjection"])
@torch.no_grad()
def test_transformers_image_encoder(tmp_path, cls):
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, projection_dim=16, num_hidden_layers=3, num_attention_heads=2,
        image_size=28, patch_size=14, hidden_act="gelu",
    )  # fmt: skip
    peer = randomised(getattr(transformers, cls)(config))
    peer.save_pretrained(tmp_path)
    pixels = noise(2, 3, 28, 28)
    want = peer(pixels, output_hidden_states=True).hidden_states[-2]  # before the last layer, which ours has not
    assert_equal(load_clip(tmp_path, **F32)(pixels), want)


def test_a_clip_with_another_activation_is_refused_rather_than_run_wrongly(tmp_path):
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=64
    )
    transformers.CLIPVisionModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="quick_gelu"):
        load_clip(tmp_path, **F32)


def test_a_diffusers_folder_is_found_whole(tmp_path):
    peer = diffusers.WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, text_dim=24, freq_dim=32, ffn_dim=96, num_layers=1
    )
    for folder in ("transformer", "transformer_2"):
        peer.save_pretrained(tmp_path / folder)
    paths = find_in(tmp_path, "high_noise", "low_noise")
    assert [load_wan(path, **F32).config.dim for path in paths.values()] == [48, 48]
