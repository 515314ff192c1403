"""The Wan VAE equals itself, however a clip is cut in time, with or without its black frames; and diffusers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.golden.golden_file import assert_close
from wan.config import VAEConfig
from wan.modules import vae_layers
from wan.modules.streaming import StreamState
from wan.modules.vae import WanVAE

SMALL = VAEConfig(dim=8)

# another number of frames in a convolution may sum in another order
REORDERED = 1e-5


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    return random_vae(SMALL)


def random_vae(config: VAEConfig) -> WanVAE:
    """Random weights, those that start at 0 or 1 included, so that every layer does something."""
    torch.manual_seed(0)
    model = WanVAE(config).eval().requires_grad_(False)
    for name, p in model.named_parameters():
        if name.endswith("gamma"):
            p.uniform_(0.5, 1.5)
        if ".proj." in name:
            p.normal_(std=0.1)
    return model


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kernel, stride", [((3, 3, 3), 1), ((3, 1, 1), 1), ((3, 1, 1), 2)])
def test_causal_convolution_is_the_3d_convolution(kernel, stride):
    conv = vae_layers.CausalConv3d(4, 6, kernel, stride).requires_grad_(False)
    x = noise(2, 4, 5, 6, 7)
    before = torch.zeros(2, 4, kernel[0] - stride, 6, 7)
    want = nn.Conv3d.forward(conv, torch.cat([before, x], 2))
    assert_close("convolution", conv(x, StreamState([])), want, REORDERED)


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[5], [1, 1, 1, 1, 1], [3, 2], [2, 1, 2], [1, 4]])
def test_streamed_decode_equals_whole(vae, cuts):
    latents = noise(2, 16, 5, 3, 4)
    state = vae.new_state()
    chunks = [vae.decode_chunk(part, state) for part in latents.split(cuts, dim=2)]
    assert [c.shape[2] for c in chunks] == [4 * n - 3 * (i == 0) for i, n in enumerate(cuts)]
    video = torch.cat(chunks, 2)
    assert video.shape == (2, 3, 17, 24, 32)
    assert_close("video", video, vae.decode(latents, whole=True), REORDERED)
    assert_close("video", video, vae.decode(latents), REORDERED)


def test_streamed_encode_equals_one_pass(vae):
    video = noise(2, 3, 13, 16, 24)
    assert_close("latents", vae.encode(video), vae.encode(video, whole=True), REORDERED)
    mu, logvar = vae.encode_moments(video)
    assert mu.shape == logvar.shape == (2, 16, 4, 2, 3)
    mean, std = (torch.tensor(v).view(16, 1, 1, 1) for v in (SMALL.mean, SMALL.std))
    assert_close("latents", vae.encode(video), (mu - mean) / std, 0)


def test_batch_elements_do_not_mix(vae):
    latents, video = noise(2, 16, 3, 2, 3), noise(2, 3, 9, 16, 24)
    assert_close("video", vae.decode(latents)[1:], vae.decode(latents[1:]), REORDERED)
    assert_close("latents", vae.encode(video)[1:], vae.encode(video[1:]), REORDERED)


def test_gradients_of_one_pass_are_those_of_the_stream():
    model = random_vae(VAEConfig(dim=4)).requires_grad_(True)
    video = noise(1, 3, 9, 16, 16)

    def gradients(whole: bool) -> list[Tensor]:
        mu, logvar = model.encode_moments(video, whole)
        loss = (model.decode(mu, whole) - video).square().mean() + logvar.square().mean()
        return list(torch.autograd.grad(loss, list(model.parameters())))

    for (name, _), one, many in zip(model.named_parameters(), gradients(True), gradients(False), strict=True):
        # gradients sum over every pixel and frame, in another order
        assert_close(name, many, one, 5e-4)


def test_state_can_be_copied_saved_and_reset(vae):
    first, second = noise(1, 16, 5, 2, 3).split([2, 3], 2)
    state = vae.new_state()
    start = vae.decode_chunk(first, state)
    copy, saved, loaded = state.clone(), state.clone().tensors(), vae.new_state()
    loaded.load_tensors(saved)
    want = vae.decode_chunk(second, state)
    assert torch.equal(vae.decode_chunk(second, copy), want)
    assert torch.equal(vae.decode_chunk(second, loaded), want)
    state.reset()
    assert torch.equal(vae.decode_chunk(first, state), start)


def test_a_saved_state_must_fit(vae):
    with pytest.raises(ValueError, match="saved state does not fit"):
        vae.new_state().load_tensors({"decoder.conv9": torch.zeros(1)})
    fresh = vae.new_state()
    fresh.load_tensors(vae.new_state().tensors())
    assert not fresh.started


def test_streaming_state_does_not_grow(vae):
    state, sizes = vae.new_state(), []
    for part in noise(1, 16, 6, 2, 2).split(1, 2):
        vae.decode_chunk(part, state)
        sizes.append(sum(t.untyped_storage().nbytes() for t in state.tensors().values()))
    assert len(set(sizes)) == 1


# --- an image and black frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("latent_frames", [1, 2, 11, 29, 30, 31, 50])
@pytest.mark.parametrize("size", [(16, 24), (40, 16)])
def test_encode_image_is_encode_of_image_and_black(vae, size, latent_frames):
    image = noise(2, 3, *size)
    black = torch.zeros(2, 3, 4 * (latent_frames - 1), *size)
    long_way = vae.encode(torch.cat([image.unsqueeze(2), black], 2))
    # no tolerance: every value comes from a call that the long way makes too
    assert torch.equal(vae.encode_image(image, latent_frames), long_way)


def test_encode_image_stops_when_it_repeats(vae):
    """Of 597 frames the full resolution sees 17, and of 150 latent frames 30 are computed."""
    first, top = vae.encoder.stages()[0], vae.encoder.top()
    seen: dict[nn.Module, int] = {first[0]: 0, top[0]: 0}

    def count(layer: nn.Module, args: tuple[Tensor, StreamState]) -> None:
        seen[layer] += args[0].shape[2]

    hooks = [layer.register_forward_pre_hook(count) for layer in seen]
    vae.encode_image(noise(1, 3, 16, 16), 150)
    for hook in hooks:
        hook.remove()
    # by receptive field: each convolution spreads the start of the clip by 2 frames, each halving in time leaves half
    # of what differs and one more: 11 frames differ at full resolution, 29 at the end; a stage runs whole chunks and
    # one more to see its state repeat
    assert list(seen.values()) == [1 + 4 * 4, 29 + 1]


# --- memory -----------------------------------------------------------------------------------------------------------


def largest_activation(model: nn.Module, call: Callable[[], object]) -> int:
    sizes: list[int] = []
    leaves = [m for m in model.modules() if not list(m.children())]
    hooks = [m.register_forward_hook(lambda m, args, out: sizes.append(out.numel())) for m in leaves]
    call()
    for hook in hooks:
        hook.remove()
    return max(sizes)


@pytest.mark.parametrize("method", ["decode", "encode"])
def test_activations_do_not_grow_with_the_length(vae, method):
    def largest(n: int) -> int:
        x = noise(1, 16, n, 2, 2) if method == "decode" else noise(1, 3, 4 * n - 3, 16, 16)
        return largest_activation(vae, lambda: getattr(vae, method)(x))

    assert largest(2) == largest(5)


# --- numbers --------------------------------------------------------------------------------------------------------


# one rounding per layer: bf16 keeps 8 bits, fp16 11, through some 30 layers
@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 0.2), (torch.float16, 0.02)])
def test_half_precision_is_close(vae, dtype, tolerance):
    half = WanVAE(SMALL).eval().requires_grad_(False)
    half.load_state_dict(vae.state_dict())
    half.to(dtype)
    latents, video = noise(1, 16, 2, 2, 2), noise(1, 3, 5, 16, 16)
    assert half.decode(latents).dtype == half.encode(video).dtype == dtype
    assert_close("video", half.decode(latents).float(), vae.decode(latents), tolerance)
    assert_close("latents", half.encode(video).float(), vae.encode(video), tolerance)


def test_norm_survives_large_fp16_activations():
    """A root of a sum of squares above 65504 is infinite in fp16, and would turn the frame black."""
    norm = vae_layers.RMSNorm(384)
    x = noise(1, 384, 1, 2, 2) * 20000
    got = norm.half()(x.half().clamp(-65000, 65000))
    # rounding of the input and of the output to 11 bits
    assert_close("norm", got.float(), norm.float()(x.clamp(-65000, 65000)), 2e-3)


def test_decoder_survives_large_fp16_activations(vae):
    """Latents 100 times too large, with a first convolution that takes activations close to the end of fp16's range."""
    half = WanVAE(SMALL).eval().requires_grad_(False)
    half.load_state_dict(vae.state_dict())
    half.decoder.conv1.weight *= 40
    reference = half.decode(noise(1, 16, 2, 2, 2) * 100)
    got = half.half().decode(noise(1, 16, 2, 2, 2) * 100)
    assert_close("video", got.float(), reference, 0.02)  # as test_half_precision_is_close


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, message",
    [
        ((1, 3, 12, 16, 16), "video has 12 frames, not 1 \\+ 4k: give 9 or 13"),
        ((1, 3, 5, 20, 16), "frame is 20x16, not a multiple of 8"),
    ],
)
def test_videos_that_do_not_fit(vae, shape, message):
    with pytest.raises(ValueError, match=message):
        vae.encode(torch.zeros(shape))


def test_latent_statistics_must_fit_the_channels():
    with pytest.raises(ValueError, match="16 means for 4 channels"):
        WanVAE(VAEConfig(dim=4, z_dim=4))


# --- diffusers ------------------------------------------------------------------------------------------------------

PARTS = {
    "conv_in.": "conv1.",
    "down_blocks.": "downsamples.",
    "mid_block.resnets.0.": "middle.0.",
    "mid_block.attentions.0.": "middle.1.",
    "mid_block.resnets.1.": "middle.2.",
    "norm_out.": "head.0.",
    "conv_out.": "head.2.",
    "conv_shortcut.": "shortcut.",
}
IN_RESIDUAL = {"norm1.": "residual.0.", "conv1.": "residual.2.", "norm2.": "residual.3.", "conv2.": "residual.6."}


def from_diffusers(key: str, num_res_blocks: int) -> str:
    """The official name of a parameter of diffusers' AutoencoderKLWan, which nests what is flat in the checkpoint."""
    if key.startswith(("quant_conv.", "post_quant_conv.")):
        return key.replace("post_quant_conv", "conv2").replace("quant_conv", "conv1")
    if any(f".{part}" in key for part in IN_RESIDUAL):
        head, part, tail = next(key.rpartition(p) for p in IN_RESIDUAL if f".{p}" in key)
        key = head + IN_RESIDUAL[part] + tail
    for theirs, ours in PARTS.items():
        key = key.replace(theirs, ours, 1)
    if "up_blocks" in key:
        _, _, block, kind, index, rest = key.split(".", 5)
        flat = int(block) * (num_res_blocks + 2) + (int(index) if kind == "resnets" else num_res_blocks + 1)
        key = f"decoder.upsamples.{flat}.{rest}"
    return key


def test_equal_to_diffusers():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKLWan(base_dim=8, z_dim=16).eval().requires_grad_(False)
    ours = WanVAE(VAEConfig(dim=8)).eval().requires_grad_(False)
    ours.load_state_dict({from_diffusers(k, 2): v for k, v in theirs.state_dict().items()})
    video, latents = noise(2, 3, 9, 16, 24), noise(2, 16, 3, 2, 3)
    mu, logvar = ours.encode_moments(video)
    posterior = theirs.encode(video).latent_dist
    assert_close("mean", mu, posterior.mean, REORDERED)
    assert_close("log variance", logvar, posterior.logvar, REORDERED)
    mean, std = (torch.tensor(v).view(16, 1, 1, 1) for v in (SMALL.mean, SMALL.std))
    # diffusers clamps its frames
    assert_close("video", ours.decode(latents).clamp(-1, 1), theirs.decode(latents * std + mean).sample, REORDERED)
