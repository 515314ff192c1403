"""The decoder sees scenes through windows that hold their objects, and latents and pixels of a window belong together."""

from __future__ import annotations

import torch

from wan.modules.vae import WanVAE
from wanmini import extrapolate, sizes
from wanmini.scenes import Scenes, draw
from wanmini.train_decoder import RIM, VIVID, config_of, edge_energy, energy_error, judged_of, window, window_of
from wanmini.training import restore, store


def test_windows_hold_the_objects() -> None:
    torch.manual_seed(0)
    scenes = Scenes.sample(torch.arange(24))
    video = draw(scenes[scenes.count == 1], frames=5)
    vivid = (video.amax(1, keepdim=True) - video.amin(1, keepdim=True) > VIVID).float()
    rows, columns = window_of(vivid, (8, 12), anywhere=0)
    assert rows.shape[1:] == (8,) and columns.shape[1:] == (12,)
    assert rows.min() >= 0 and rows.max() < 12 and columns.max() < 20
    share = window(vivid, rows, columns, 8).sum((1, 2, 3, 4)) / vivid.sum((1, 2, 3, 4))
    assert (share > 0.1).all() and share.mean() > 0.6  # what moves may leave the window in other frames


def test_a_window_of_latents_is_the_window_of_their_pixels() -> None:
    cells = torch.arange(12 * 20.0).reshape(1, 1, 1, 12, 20)
    pixels = cells.repeat_interleave(8, 3).repeat_interleave(8, 4)
    rows, columns = torch.arange(2, 10)[None], torch.arange(5, 17)[None]
    cut = window(cells, rows, columns, 1)
    assert torch.equal(cut, cells[..., 2:10, 5:17])
    assert torch.equal(window(pixels, rows, columns, 8), cut.repeat_interleave(8, 3).repeat_interleave(8, 4))


def test_a_window_is_judged_up_to_the_edge_of_the_picture_and_nowhere_else() -> None:
    rows, columns = torch.tensor([[0, 1, 2], [1, 2, 3]]), torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]])
    judged = judged_of(rows, columns, (4, 4), frames=9, run_up=5)
    assert judged.shape == (2, 1, 9, 24, 32) and not judged[:, :, :5].any()
    below, above = judged[0, 0, 5], judged[1, 0, 5]
    assert below[: 24 - RIM].all() and not below[24 - RIM :].any()
    assert above[RIM:].all() and not above[:RIM].any()


def test_edge_energy_finds_blur_and_not_where_an_edge_is() -> None:
    step = torch.zeros(1, 3, 1, 32, 32)
    step[..., 11:] = 1
    moved, soft = step.roll(1, -1), torch.nn.functional.avg_pool3d(step, (1, 1, 5), 1, (0, 0, 2))
    moved[..., 0] = 0
    assert energy_error(moved, step) < 1e-6 < 0.01 < energy_error(soft, step)
    assert edge_energy(step).shape == (1, 1, 4, 4)


def test_weights_beyond_a_run_are_on_the_line_from_another(tmp_path, monkeypatch) -> None:
    a, b, found = WanVAE(sizes.VAE), WanVAE(sizes.VAE), WanVAE(sizes.VAE)
    b.load_state_dict(a.state_dict())
    with torch.no_grad():
        b.decoder.head[2].bias.fill_(1.0)
        a.decoder.head[2].bias.fill_(0.75)
    for name, vae in (("a", a), ("b", b)):
        store(tmp_path / name / "vae", vae.state_dict(), sizes.VAE, {"steps": "7"})
    monkeypatch.setattr(
        "sys.argv", ["extrapolate", *(str(tmp_path / n) for n in "ab"), "--out", str(tmp_path / "c"), "--by", "2"]
    )
    extrapolate.main()
    assert restore(found, tmp_path / "c" / "vae") == 7 and config_of(tmp_path / "c") == sizes.VAE
    assert (found.decoder.head[2].bias == 1.5).all()
    assert torch.equal(found.encoder.conv1.weight, b.encoder.conv1.weight.half().float())
