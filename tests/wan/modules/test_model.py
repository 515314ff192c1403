"""WanModel: what a caller may pass, and that every form of the same thing gives the same result."""

import pytest
import torch

from tests.wan.tiny_models import wan_model


def inputs(frames=3, height=4, width=6, batch=1):
    g = torch.Generator().manual_seed(1)
    return torch.randn(batch, 16, frames, height, width, generator=g), [torch.randn(7, 24, generator=g)] * batch


def test_scalar_timestep_equals_one_per_frame():
    model = wan_model()
    x, context = inputs()
    want = model(x, torch.tensor(700.0), context)
    for t in (700.0, torch.tensor([700.0]), torch.full((1, 3), 700.0)):
        torch.testing.assert_close(model(x, t, context), want, rtol=1e-5, atol=1e-6)


def test_frames_may_have_their_own_timesteps():
    model = wan_model()
    x, context = inputs()
    a = model(x, torch.tensor([[0.0, 500.0, 999.0]]), context)
    b = model(x, torch.tensor([[0.0, 500.0, 500.0]]), context)
    assert not torch.allclose(a, b)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 2, 2), (2, 8, 4), (5, 6, 10)])
def test_any_latent_size(frames, height, width):
    x, context = inputs(frames, height, width)
    assert wan_model()(x, 500.0, context).shape == x.shape


def test_batch_rows_do_not_meet():
    model = wan_model()
    x, context = inputs(batch=2)
    both = model(x, 500.0, context)
    torch.testing.assert_close(both[1:], model(x[1:], 500.0, context[1:]), rtol=1e-4, atol=1e-5)


def test_text_may_be_embedded_once():
    model = wan_model()
    x, context = inputs()
    assert torch.equal(model(x, 500.0, model.embed_text(context)), model(x, 500.0, context))


def test_frame_positions_default_to_counting():
    model = wan_model()
    x, context = inputs()
    want = model(x, 500.0, context)
    assert torch.equal(model(x, 500.0, context, frame_positions=[0, 1, 2]), want)
    assert not torch.allclose(model(x, 500.0, context, frame_positions=[0, 2, 4]), want)
    # rotary attention sees differences of positions only
    torch.testing.assert_close(model(x, 500.0, context, frame_positions=[7, 8, 9]), want, rtol=1e-4, atol=1e-5)


def test_image_condition_belongs_to_i2v():
    x, context = inputs()
    with pytest.raises(ValueError, match="t2v model"):
        wan_model()(x, 500.0, context, y=torch.zeros(1, 20, 3, 4, 6))
    i2v = wan_model(model_type="i2v", in_dim=36)
    with pytest.raises(ValueError, match="needed"):
        i2v(x, 500.0, context)
    assert i2v(x, 500.0, context, y=torch.zeros(1, 20, 3, 4, 6)).shape == x.shape


def test_prompt_that_is_too_long_is_an_error():
    x, _ = inputs()
    with pytest.raises(ValueError, match="13 tokens, the model reads 12"):
        wan_model()(x, 500.0, [torch.zeros(13, 24)])


def test_half_precision_stays_close():
    model = wan_model()
    x, context = inputs()
    want = model(x, 500.0, context)
    got = model.to(torch.bfloat16)(x, 500.0, context)
    assert got.dtype == torch.float32
    assert (got - want).abs().mean() / want.abs().mean() < 0.03  # bf16 has 8 bits: 0.4 % an operation
