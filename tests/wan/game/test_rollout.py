"""The rollout on toy models: what a block is, what it depends on, and that neither memory nor time is forgotten."""

import copy
import gc
import hashlib
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from wan.fast.causal import OptimizedCausalWanModel
from wan.game.actions import script_of, walk
from wan.game.conditions import image_condition, image_tensor, open_image
from wan.game.modes import MODES, UNIVERSAL
from wan.game.rollout import Sampling, rollout, scripted
from wan.game.savepoint import fingerprint, load_world, save_world
from wan.game.scripts import parse_text
from wan.game.timeline import blocks_in, frame_map, span
from wan.image import MASK_CHANNELS
from wan.latents import latent_frames_for, video_frames
from wanmini.random_world import random_world
from wanmini.weights import mini_world

HEIGHT, WIDTH = 32, 48


@pytest.fixture(scope="module")
def models():
    return random_world()


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (60, 80, 3), dtype=np.uint8))


def begin(models, seed=1, sampling=None, **sizes):
    return models.start([picture()], [seed], sampling or Sampling(), **{"height": HEIGHT, "width": WIDTH, **sizes})


def play(models, script="W*12 WL*24", blocks=3, **start):
    made = rollout(begin(models, **start), scripted([parse_text(script, models.mode)]), blocks)
    return [(b.latents, b.video) for b in made]


def same(a, b) -> bool:
    return all(torch.equal(x, y) for pair in zip(a, b, strict=True) for x, y in zip(*pair, strict=True))


def test_frames_of_blocks():
    assert video_frames(150) == 597 and latent_frames_for(597) == 150 and latent_frames_for(10) == 4
    assert span(5).frames == range(57, 69)
    mapped = frame_map(150)
    assert len(mapped) == 50 and mapped[0].frames == range(0, 9) and mapped[-1].frames == range(585, 597)
    assert all(a.frames.stop == b.frames.start for a, b in zip(mapped, mapped[1:]))
    assert span(1, per_block=1).frames == range(1, 5) and span(0, per_block=1).frames == range(0, 1)


@pytest.mark.parametrize("count, near", [(151, "150 or 153"), (1, "use 3"), (0, "use 3"), (-3, "use 3")])
def test_only_whole_blocks(count, near):
    with pytest.raises(ValueError, match=near):
        blocks_in(count)


def test_a_block_has_the_frames_of_the_map(models):
    blocks = list(rollout(begin(models), scripted([parse_text("W*9", UNIVERSAL)]), 3))
    for made, mapped in zip(blocks, frame_map(9), strict=True):
        assert made.span == mapped
        assert made.latents.shape == (1, 16, 3, HEIGHT // 8, WIDTH // 8)
        assert made.video.shape == (1, len(mapped.frames), HEIGHT, WIDTH, 3) and made.video.dtype == torch.uint8


def test_the_same_seeds_give_the_same_bytes(models):
    assert same(play(models, seed=4), play(models, seed=4))
    assert not same(play(models, seed=4), play(models, seed=5))


def test_frames_do_not_depend_on_their_clean_pass(models):
    """The generator hands frames out before the pass; here it runs first, and the decoder afterwards."""
    world, script = begin(models, seed=4), parse_text("W*12 WL*24", UNIVERSAL)
    decoder, state = world.decoder, world.decoder.new_state()
    late = []
    for _ in range(3):
        latents = world.generate([script.window(world.span.frames)]).latents
        world.commit()
        pixels = decoder.decode_chunk(latents, state).add(1).mul(127.5).round().clamp(0, 255)
        late.append((latents, pixels.permute(0, 2, 3, 4, 1).to(torch.uint8)))
    assert same(play(models, seed=4), late)


def test_an_action_changes_its_own_block_and_none_before(models):
    straight, turned = play(models, "W*21 W*12"), play(models, "W*21 WL*12")
    assert same(straight[:2], turned[:2])
    assert not torch.equal(straight[2][0], turned[2][0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("window", [4, 9])
def test_every_mode_and_window_plays_past_its_window(mode, window):
    models = random_world(mode, local_attn_size=window)
    script = script_of(models.mode, (a for a, _ in zip(walk(models.mode, 3), range(57))))
    blocks = list(rollout(begin(models, height=16, width=32), scripted([script]), 5))
    assert all(torch.isfinite(b.latents).all() for b in blocks)
    assert blocks[-1].span.frames.stop == 57


@pytest.mark.parametrize("per_block, steps", [(1, (1000,)), (2, (1000, 750, 500, 250)), (6, (1000, 500))])
def test_other_blocks_and_steps(models, per_block, steps):
    sampling = Sampling(denoising_step_list=steps, num_frame_per_block=per_block)
    blocks = list(rollout(begin(models, sampling=sampling), scripted([parse_text("W*9", UNIVERSAL)]), 3))
    assert [b.span for b in blocks] == frame_map(3 * per_block, per_block)


def test_each_world_of_a_batch_is_the_world_it_is_alone(models):
    scripts = [parse_text(text, UNIVERSAL) for text in ("W*12 WL*24", "J*33")]
    world = models.start([picture(0), picture(1)], [1, 2], Sampling(), HEIGHT, WIDTH)
    together = torch.cat([b.latents for b in rollout(world, scripted(scripts), 3)], dim=2)
    for i, script in enumerate(scripts):
        alone = models.start([picture(i)], [1 + i], Sampling(), HEIGHT, WIDTH)
        latents = torch.cat([b.latents for b in rollout(alone, scripted([script]), 3)], dim=2)
        # a batched product sums in another order
        torch.testing.assert_close(together[i : i + 1], latents, rtol=1e-4, atol=1e-4)


def test_the_rollout_ends_when_there_are_no_more_actions(models):
    chosen = iter([[[*parse_text("W*9", UNIVERSAL).window(range(9))]], None])
    assert len(list(rollout(begin(models), lambda frames: next(chosen)))) == 1


def test_a_short_condition_is_that_of_any_length(models):
    image = image_tensor(picture(), HEIGHT, WIDTH)[None]
    condition = image_condition(image, models.vae, models.clip)
    black = torch.zeros(1, 3, 4 * 39, HEIGHT, WIDTH)
    whole = models.vae.encode(torch.cat([image[:, :, None], black], dim=2))
    assert condition.concat.shape[2] < 40, "the comparison must reach past what is kept"
    blocks = torch.cat([condition.block(range(i, i + 4)) for i in range(0, 40, 4)], dim=2)
    assert torch.equal(blocks[:, MASK_CHANNELS:], whole)
    assert torch.equal(blocks[:, :MASK_CHANNELS, 0], torch.ones(1, 4, *whole.shape[3:]))
    assert not blocks[:, :MASK_CHANNELS, 1:].any()


def live_bytes() -> int:
    gc.collect()
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in gc.get_objects() if _is_tensor(t)}
    return sum(storages.values())


def _is_tensor(thing) -> bool:
    return type(thing) in (torch.Tensor, torch.nn.Parameter)  # others, left by other tests, may have no memory


def test_sixty_blocks_use_the_memory_of_ten(models):
    world, seen = begin(models, height=16, width=32), {}
    for block in rollout(world, scripted([parse_text("W*12 L*12", UNIVERSAL)]), 60):
        number = block.span.block
        del block
        if number in (9, 59):
            seen[number] = live_bytes()
    assert seen[59] == seen[9]


@pytest.mark.parametrize("at", [1, 4])
def test_a_saved_world_goes_on_exactly(models, tmp_path, at):
    script = scripted([parse_text("W*12 WL*24 D*12 A*24", UNIVERSAL)])
    straight = [b.latents for b in rollout(begin(models), script, 6)]
    world = begin(models)
    for _ in zip(range(at), rollout(world, script)):
        pass
    save_world(tmp_path / "world.safetensors", world, {"seed": 1})
    again, note = load_world(tmp_path / "world.safetensors", random_world())
    rest = [b.latents for b in rollout(again, script, 6 - at)]
    assert note == {"seed": 1}
    assert all(torch.equal(a, b) for a, b in zip(straight[at:], rest, strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["world.safetensors"]


DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(scope="module")
def minis():
    """The embedded world, whose file is float16, in every dtype a run may have."""
    return {dtype: mini_world(dtype=dtype) for dtype in DTYPES}


FULL, BRAIN, HALF = DTYPES
WAYS = [(FULL, FULL), (BRAIN, FULL), (FULL, HALF)]
OTHER_WAYS = [(a, b) for a in DTYPES for b in DTYPES if (a, b) not in WAYS]


@pytest.mark.parametrize(
    ("saved_in", "loaded_in"), [*WAYS, *(pytest.param(*w, marks=pytest.mark.slow) for w in OTHER_WAYS)]
)
def test_a_save_point_knows_its_weights_in_every_dtype(minis, tmp_path, saved_in, loaded_in):
    path, script = tmp_path / "world.safetensors", scripted([parse_text("W*99", UNIVERSAL)])
    world = begin(minis[saved_in])
    next(rollout(world, script))
    save_world(path, world)
    again, _ = load_world(path, minis[loaded_in])
    block = next(rollout(again, script))
    assert block.span.block == 1 and block.latents.dtype == loaded_in


def test_rounding_changes_no_fingerprint(minis):
    """Neither that of a float32 file to float16, where small weights become 0, and on to bfloat16."""
    model = copy.deepcopy(minis[torch.float32].causal)
    model.head.head.weight.data *= torch.logspace(-12, 2, model.config.dim)
    want = fingerprint(model)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert fingerprint(model.to(dtype)) == want
    model.head.head.weight.data[5, 7] *= -1
    assert fingerprint(model) != want


def make_older(path, model):
    """As it was written when fingerprints were hashes of the values in a run."""
    with safe_open(path, "pt") as file:
        meta, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
    values = model.head.head.weight.detach().float().numpy().tobytes()
    save_file(tensors, path, meta | {"weights": hashlib.sha256(values).hexdigest()[:16]})


def test_an_older_save_point_loads_or_says_why_not(minis, tmp_path):
    path = tmp_path / "world.safetensors"
    save_world(path, begin(minis[torch.bfloat16]))
    make_older(path, minis[torch.bfloat16].causal)
    for dtype in DTYPES:
        load_world(path, minis[dtype])
    make_older(path, minis[torch.float32].causal)  # what bfloat16 has rounded away
    load_world(path, minis[torch.float32])
    with pytest.raises(ValueError, match="or with these in another dtype: give the checkpoint and the --dtype"):
        load_world(path, minis[torch.bfloat16])


def test_a_save_point_refuses_what_it_does_not_fit(models, tmp_path):
    path = tmp_path / "world.safetensors"
    save_world(path, begin(models))
    with pytest.raises(ValueError, match="a world of mode universal, these weights play templerun"):
        load_world(path, random_world("templerun"))
    with pytest.raises(ValueError, match="made with other weights"):
        load_world(path, random_world(seed=1))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a save point, or a damaged one"):
        load_world(path, models)


def test_sizes_must_fit_the_model(models):
    with pytest.raises(
        ValueError, match="height 40 does not fit the model, which needs a multiple of 16: use 32 or 48"
    ):
        begin(models, height=40)
    with pytest.raises(ValueError, match="width 0 does not fit the model, which needs a multiple of 16: use 16"):
        begin(models, width=0)


def test_images_are_cropped_in_the_middle_and_resized():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste((0, 0, 255), (100, 0, 200, 100))
    got = image_tensor(wide, 32, 32)
    assert got.shape == (3, 32, 32)
    torch.testing.assert_close(got[:, 16, 16], torch.tensor([-1.0, -1.0, 1.0]))
    assert (got[2] == 1).float().mean() > 0.9  # the red sides are gone


def test_images_as_they_come(tmp_path):
    upright = Image.new("RGB", (40, 60), "red")
    upright.putpixel((0, 0), (0, 255, 0))
    rotated = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me a quarter clockwise"
    rotated.save(tmp_path / "turned.png", exif=exif)
    assert open_image(tmp_path / "turned.png").size == (40, 60)
    assert open_image(tmp_path / "turned.png").getpixel((0, 0)) == (0, 255, 0)
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_image(tmp_path / "clear.png").getpixel((5, 5)) == (255, 255, 255)
    Image.new("P", (20, 20)).save(tmp_path / "palette.gif")
    assert open_image(tmp_path / "palette.gif").mode == "RGB"


def test_greys_of_16_bits_are_scaled_and_of_32_refused(tmp_path):
    ramp = np.linspace(0, 65535, 40 * 60).reshape(40, 60)
    for name in ("grey.png", "grey.tiff"):
        Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / name)
        grey = np.asarray(open_image(tmp_path / name), float)
        assert np.abs(grey - ramp[..., None] / 257).max() <= 1, "not cut off at 255"
    for dtype in (np.float32, np.int32):
        Image.fromarray((ramp / 65535).astype(dtype)).save(tmp_path / "grey32.tiff")
        with pytest.raises(ValueError, match="grey32.tiff has greys of 32 bits"):
            open_image(tmp_path / "grey32.tiff")


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a.png is a pipe"):
        open_image(tmp_path / "a.png")


def test_bad_images(tmp_path, monkeypatch):
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ValueError, match="text.png is not an image"):
        open_image(tmp_path / "text.png")
    picture().save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    with pytest.raises(ValueError, match="half.png is a damaged image"):
        open_image(tmp_path / "half.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(ValueError, match="dot.png is 1x1 pixels"):
        open_image(tmp_path / "dot.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="megapixels: scale it down"):
        open_image(tmp_path / "whole.png")
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "missing.png")


def test_a_loaded_world_has_its_image_in_the_cache(tmp_path):
    """A captured graph finds it there, or nowhere."""
    models = random_world(causal_class=OptimizedCausalWanModel)
    world = begin(models)
    world.generate(scripted([parse_text("W*9", models.mode)])(world.span.frames))
    save_world(tmp_path / "here.safetensors", world)
    loaded, _ = load_world(tmp_path / "here.safetensors", models)
    assert loaded.lease.cache.cross.current == set(range(models.causal.config.num_layers))
