"""Whatever is found in place of a checkpoint is one sentence that names the file, never a traceback of a library."""

import io
import json
import os
import pickle
import random
import struct
import zipfile

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.wan.checkpoints import save_shards, write_config
from tests.wan.tiny_models import causal_model, wan_model
from wan.files.checkpoint import load_causal, load_vae, load_wan, open_weights

F32 = {"device": "cpu", "dtype": torch.float32}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 9823746\n"


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def small(path):
    tensors = {"a.weight": torch.randn(16, 16), "b.bias": torch.randn(16)}
    (torch.save if path.suffix == ".pth" else save_file)(tensors, path)
    return path.read_bytes()


def cut(path, share=0.5):
    path.write_bytes(small(path)[: int(path.stat().st_size * share)])


def header(path, entries, data=b"", length=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(**changes):
    return {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}


def image(path):
    Image.new("RGB", (8, 8)).save(path, format="PNG")


def not_torch_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


BROKEN = {
    "empty safetensors": ("x.safetensors", lambda p: p.touch(), "is empty"),
    "empty pth": ("x.pth", lambda p: p.touch(), "is empty"),
    "truncated safetensors": ("x.safetensors", cut, "header says .* the download is incomplete"),
    "truncated in the header": ("x.safetensors", lambda p: cut(p, 0.05), "ends inside its header"),
    "truncated pth": ("x.pth", cut, "is damaged or no torch file"),
    "safetensors with a tail": ("x.safetensors", lambda p: p.write_bytes(small(p) + b"x"), "it is damaged"),
    "git-LFS pointer": ("x.safetensors", lambda p: p.write_text(LFS), "git-LFS pointer.*git lfs pull"),
    "git-LFS pointer to a pth": ("x.pth", lambda p: p.write_text(LFS), "git-LFS pointer"),
    "web page": ("x.safetensors", lambda p: p.write_text("<!DOCTYPE html><html>404</html>"), "is a web page"),
    "web page as pth": ("x.pth", lambda p: p.write_text("<html>sign in</html>"), "is a web page"),
    "text": ("x.safetensors", lambda p: p.write_text("hello, this is no model"), "is not a checkpoint"),
    "a few bytes": ("x.safetensors", lambda p: p.write_bytes(b"\1\2"), "is not a checkpoint"),
    "json": ("x.safetensors", lambda p: p.write_text('{"error": "gated repository"}'), "is not a checkpoint"),
    "image": ("x.safetensors", image, "is not a checkpoint"),
    "zip": ("x.pth", not_torch_zip, "is damaged or no torch file"),
    "code in a pth": ("x.pth", lambda p: torch.save({"a": Evil()}, p), "holds code, which is never run"),
    "bare pickle": ("x.pth", lambda p: p.write_bytes(pickle.dumps({"a": Evil()})), "is a bare pickle"),
    "pth of a list": ("x.pth", lambda p: torch.save([torch.ones(1)], p), "holds a list, not a dict of tensors"),
    "pth of a training state": ("x.pth", lambda p: torch.save({"step": 3}, p), "holds more than tensors: step"),
    "header of nonsense": ("x.safetensors", lambda p: header(p, b"{nonsense}"), "has a damaged header"),
    "header of depth": ("x.safetensors", lambda p: header(p, b'{"a":' * 50_000), "has a damaged header"),
    "header of other things": ("x.safetensors", lambda p: header(p, {"a": 3}), "has a damaged header"),
    "header of infinity": ("x.safetensors", lambda p: header(p, entry(shape=[float("inf")])), "has a damaged header"),
    "unknown dtype": ("x.safetensors", lambda p: header(p, entry(dtype="F13"), bytes(4)), "a has the dtype F13"),
    "shape of another size": ("x.safetensors", lambda p: header(p, entry(shape=[7]), bytes(4)), "gives a 4 bytes for"),
    "no tensors": ("x.safetensors", lambda p: header(p, {}), "holds no model known here .its tensors: none"),
    "index of nonsense": ("x.index.json", lambda p: p.write_text('{"weight_map": 3}'), "is not an index of shards"),
    "index of missing shards": (
        "x.safetensors.index.json",
        lambda p: p.write_text('{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}'),
        "names shards that are not beside it: 1.safetensors, 2.safetensors",
    ),
    "index of shards elsewhere": (
        "x.safetensors.index.json",
        lambda p: p.write_text('{"weight_map": {"a": "../1.safetensors", "b": "/etc/passwd"}}'),
        "names shards outside its folder: ../1.safetensors, /etc/passwd",
    ),
    "index of numbers": (
        "x.index.json",
        lambda p: p.write_text('{"weight_map": {"a": 3}}'),
        "is not an index of shards",
    ),
    "index of depth": ("x.index.json", lambda p: p.write_text('{"a":' * 50_000), "is not an index of shards"),
    "a pipe": ("x.safetensors", os.mkfifo, "is no file .a pipe, a device"),
    "a pipe as an index": ("x.index.json", os.mkfifo, "is no file .a pipe, a device"),
    "a folder of nothing": ("x", lambda p: p.mkdir(), "holds no .safetensors"),
    "a folder in place of a file": ("x.pth", lambda p: p.mkdir(), "holds no .safetensors"),
    "nothing at all": ("x.safetensors", lambda p: None, "no such file or folder"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken(tmp_path, capfd, kind):
    name, break_it, message = BROKEN[kind]
    path = tmp_path / name
    break_it(path)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        open_weights(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "code ran" not in capfd.readouterr().out


def test_a_pipe_in_a_folder(tmp_path):
    os.mkfifo(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="is no file"):
        open_weights(tmp_path)


def test_a_file_in_place_of_a_folder(tmp_path):
    path = tmp_path / "transformer"
    path.write_text("not a folder")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        load_wan(path, **F32)


def test_a_whole_release_is_not_one_model(tmp_path):
    for name in ("high_noise_model", "low_noise_model"):
        save_shards(tmp_path / name, wan_model().state_dict(), 1)
    with pytest.raises(FileNotFoundError, match="name one model in it .it has high_noise_model/, low_noise_model/"):
        load_wan(tmp_path, **F32)


@pytest.mark.parametrize("index", [True, False])
def test_a_missing_shard(tmp_path, index):
    save_shards(tmp_path, wan_model().state_dict(), 3, index)
    (tmp_path / "diffusion_pytorch_model-00002-of-00003.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"diffusion_pytorch_model-00002-of-00003\.safetensors.*download"):
        load_wan(tmp_path, **F32)


def test_a_broken_shard_is_named_itself(tmp_path):
    save_shards(tmp_path, wan_model().state_dict(), 3)
    shard = tmp_path / "diffusion_pytorch_model-00002-of-00003.safetensors"
    shard.write_text(LFS)
    with pytest.raises(ValueError, match="00002-of-00003.safetensors is a git-LFS pointer"):
        load_wan(tmp_path, **F32)


def test_an_index_naming_a_tensor_no_shard_has(tmp_path):
    save_shards(tmp_path, wan_model().state_dict(), 2)
    path = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["blocks.7.ffn.0.weight"] = next(iter(index["weight_map"].values()))
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"names tensors that no shard has: blocks\.7\.ffn\.0\.weight"):
        load_wan(tmp_path, **F32)


def test_two_models_in_one_folder(tmp_path):
    for name in ("high", "low"):
        save_file(wan_model().state_dict(), tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"high\.safetensors and low\.safetensors both hold blocks"):
        load_wan(tmp_path, **F32)


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(wan_model().state_dict(), path)
    weights = open_weights(path)
    path.write_bytes(path.read_bytes()[:20_000])
    name = list(weights.parts)[-1]
    with pytest.raises(ValueError, match="ends inside a tensor"):
        weights.read_into(name, torch.empty(weights.shape(name)), torch.empty(64, dtype=torch.uint8))


def test_a_config_that_is_no_json_is_named(tmp_path):
    save_file(causal_model().state_dict(), tmp_path / "game.safetensors")
    (tmp_path / "config.json").write_text(LFS)
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        load_causal(tmp_path, **F32)


def test_parts_that_do_not_join(tmp_path):
    """transformers stores q, k and v apart; read as one tensor they must agree."""
    names = [f"encoder.layers.0.self_attn.{part}_proj.weight" for part in "qkv"]
    tensors = {"embeddings.class_embedding": torch.ones(8), **{name: torch.ones(8, 8) for name in names}}
    tensors[names[1]] = torch.ones(16, 4)
    save_file(tensors, tmp_path / "clip.safetensors")
    with pytest.raises(ValueError, match=r"the parts of transformer\.0\.attn\.to_qkv\.weight .* do not join"):
        open_weights(tmp_path / "clip.safetensors")


def damage(raw, rng):
    """A few bytes changed, or the end missing."""
    raw = bytearray(raw)
    if rng.random() < 0.3:
        return raw[: rng.randrange(len(raw))]
    for _ in range(rng.choice([1, 4, 30])):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return raw


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.safetensors.index.json", "config.json"])
def test_any_damage_at_all(tmp_path, name):
    """A hundred random damages of a small file: loaded, or refused in words."""
    rng = random.Random(0)
    model = wan_model()
    save_shards(tmp_path, model.state_dict(), 1)
    write_config(tmp_path, model.config)
    path = next(tmp_path.glob("*.index.json")) if "index" in name else tmp_path / name
    if path.suffix == ".safetensors":
        path = next(tmp_path.glob("*.safetensors"))
    if path.suffix == ".pth":
        buffer = io.BytesIO()
        torch.save({"decoder.upsamples.0.residual.0.gamma": torch.ones(4, 1, 1, 1)}, buffer)
        path.write_bytes(buffer.getvalue())
    raw = path.read_bytes()
    for _ in range(100):
        # headers and tables are where damage matters; the numbers themselves can be anything
        path.write_bytes(damage(raw[:4000], rng) + raw[4000:])
        try:
            load_vae(path, **F32) if path.suffix == ".pth" else load_wan(tmp_path, **F32)
        except (ValueError, FileNotFoundError) as error:
            assert "\n" not in str(error)
