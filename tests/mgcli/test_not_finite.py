"""Weights of numbers that are none make one line, before a frame of it is written: not a black video and exit code 0."""

import pytest
from safetensors.torch import load_file, save_file

from mgcli import mg, wan22_app
from mgcli.app.errors import run
from tests.bench.make_random_release import write_release
from tests.tiny_checkpoints import write_wan22


def poison(path, name, value=float("nan")):
    tensors = load_file(path)
    key = next(key for key in tensors if key.endswith(name))
    tensors[key].view(-1)[0] = value
    save_file(tensors, path)


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


WORLD, VAE, CLIP = (
    "base_distilled_model/base_distill.safetensors",
    "vae/model.safetensors",
    "image_encoder/model.safetensors",
)


@pytest.mark.parametrize(
    ("file", "name", "command"),
    [
        (WORLD, "head.head.weight", ["generate"]),
        (WORLD, "blocks.1.norm3.bias", ["stream", "--script", "W*21"]),
        (VAE, "decoder.head.2.bias", ["generate"]),
        (CLIP, "pos_embedding", ["generate"]),
    ],
)
def test_a_world_of_damaged_weights(tmp_path, capsys, file, name, command):
    checkpoint = write_release(tmp_path / "release", "universal", small=True)
    poison(tmp_path / "release" / file, name)
    given = [
        "--height",
        "32",
        "--width",
        "48",
        "--checkpoint_path",
        str(checkpoint),
        "--output",
        str(tmp_path / "new" / "a.mp4"),
    ]
    assert run(mg.app, [*command, *given]) == 2
    said = capsys.readouterr().err
    assert "error: block 0 came out with numbers that are not finite" in said and "(--dtype float32)" in said
    assert not files(tmp_path / "new")


@pytest.mark.parametrize(
    ("folder", "name", "what"),
    [
        ("high_noise_model", "head.head.weight", "step 1 (high-noise expert) came out"),
        ("low_noise_model", "head.head.weight", "(low-noise expert) came out"),
        ("text_encoder", "norm.weight", "the text encoder, or the VAE's encoder, came out"),
        ("vae", "decoder.head.2.bias", "decoding came out"),
    ],
)
def test_a_video_of_damaged_weights(tmp_path, capsys, folder, name, what):
    checkpoint = write_wan22(tmp_path / "t2v")
    poison(next((checkpoint / folder).glob("*.safetensors")), name, float("inf"))
    given = "--any_size --size 64*48 --frame_num 5 --sample_steps 12 --device cpu --prompt a".split()
    code = run(
        wan22_app.app, ["t2v", *given, "--ckpt_dir", str(checkpoint), "--save_file", str(tmp_path / "new" / "a.mp4")]
    )
    said = capsys.readouterr().err
    assert code == 2 and what in said and "not finite" in said, said
    kept = [path.name for path in files(tmp_path / "new")]
    assert kept == (["a.safetensors"] if folder == "vae" else []), "what the steps came to is not lost"
