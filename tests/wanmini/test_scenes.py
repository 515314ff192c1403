"""Captioned scenes: possible, reproducible, told in words the tokenizer knows, and held out where they should be."""

from __future__ import annotations

import torch

from wan.text import Tokenizer
from wanmini.scenes import Scenes, captions, draw
from wanmini.scenes.attributes import COLOURS, HEIGHT, MOTIONS, REACH, SHAPES, WIDTH, is_held_out, paths
from wanmini.scenes.tokenizer import build, save


def test_a_scene_depends_on_its_seed_and_split_alone() -> None:
    many, one = Scenes.sample(torch.arange(50)), Scenes.sample(torch.tensor([37]))
    assert captions(many)[37] == captions(one)[0]
    assert torch.equal(draw(many[37:38], 3, (24, 40)), draw(one, 3, (24, 40)))


def test_the_split_is_by_combination_and_hides_no_single_attribute() -> None:
    seen, hidden = Scenes.sample(torch.arange(4000)), Scenes.sample(torch.arange(4000), held_out=True)
    for scenes, expected in ((seen, False), (hidden, True)):
        assert (is_held_out(scenes.shape, scenes.colour, scenes.motion) == expected).all()
    for scenes in (seen, hidden):
        assert len(scenes.shape.unique()) == len(SHAPES) and len(scenes.colour.unique()) == len(COLOURS)
        assert len(scenes.motion.unique()) == len(MOTIONS)
    assert len((seen.shape * 8 + seen.colour).unique()) == 48  # every shape was seen in every colour


def test_everything_stays_in_view() -> None:
    scenes = Scenes.sample(torch.arange(3000))
    centres, radii = paths(scenes)
    reach = REACH * radii[:, :, None, None]
    present = (torch.arange(3) < scenes.count[:, None])[:, None, :, None]
    size = torch.tensor([WIDTH, HEIGHT])
    outside = torch.maximum(reach - centres, centres + reach - size)
    assert float(torch.where(present, outside, -1.0).max()) < 1.5  # pixels: the tips of the largest, fastest stars


def test_captions_vary_and_use_known_words_only() -> None:
    sentences = captions(Scenes.sample(torch.arange(1000))) + captions(Scenes.sample(torch.arange(300), True), True)
    assert len(set(sentences)) > 1200
    ids = [e.ids for e in build().encode_batch(sentences)]
    assert all(2 not in row and row[-1] == 1 and len(row) <= 40 for row in ids)
    spelled = [t for e in build().encode_batch(sentences) for t in e.tokens if t.startswith("##")]
    assert not spelled
    assert "a orange" not in " ".join(sentences).lower() and "  " not in " ".join(sentences)


def test_the_tokenizer_file_is_read_like_the_released_one(tmp_path) -> None:
    save(tmp_path / "tokenizer.json")
    tokens = Tokenizer(tmp_path / "tokenizer.json", text_len=64)(["A Red  star.", "two blue rings drift up slowly"])
    assert tokens.ids[0, 4] == 1 and tokens.ids[0, 5:].eq(0).all()  # a, red, star, ., </s>, padding
    assert build().get_vocab_size() < 1000


def test_videos_are_soft_coloured_and_in_range() -> None:
    video = draw(Scenes.sample(torch.arange(6)), 5, (48, 80))
    assert video.shape == (6, 3, 5, 48, 80) and video.min() >= -1 and video.max() <= 1
    hue = video.amax(1) - video.amin(1)
    assert (hue.flatten(1).amax(1) > 0.6).all() and (hue.flatten(1).median(1).values < 0.35).all()
