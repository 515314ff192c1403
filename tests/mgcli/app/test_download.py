"""`mg download` against a hub made of a folder and a real HTTP server on loopback."""

import hashlib
import io
import json
import re
import shutil
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from mgcli import mg, wan22_app
from mgcli.app import models
from mgcli.app.downloads import RemoteFile, Web, digest_of, missing, require_space, size_text, verify
from mgcli.app.errors import run
from mgcli.app.models import MODELS, Model, problems

CHECKPOINT = "base_distilled_model/base_distill.safetensors"


def safetensors_bytes(name: str = "w") -> bytes:
    return safetensors.torch.save({name: torch.zeros(16)})


def torch_bytes() -> bytes:
    torch.save({"w": torch.zeros(4)}, file := io.BytesIO())
    return file.getvalue()


class FolderHub:
    """What mgcli uses of huggingface_hub.HfApi, over a folder: list a repository, put one of its files into a local_dir."""

    def __init__(self, root: Path) -> None:
        self.root, self.fetched, self.dies_at, self.damages = root, [], "", ""

    def model_info(self, repo: str, files_metadata: bool) -> SimpleNamespace:
        assert files_metadata
        paths = sorted(p for p in (self.root / repo).rglob("*") if p.is_file())
        return SimpleNamespace(sha="abc123", siblings=[self.sibling(p, p.relative_to(self.root / repo)) for p in paths])

    def sibling(self, path: Path, name: Path) -> SimpleNamespace:
        """Weights lie in LFS, which has their SHA-256; the rest in git, which has an id of its own for them."""
        lfs = SimpleNamespace(sha256=digest_of(path, 64)) if path.suffix in (".safetensors", ".gguf") else None
        return SimpleNamespace(
            rfilename=str(name), size=path.stat().st_size, lfs=lfs, blob_id="0" * 40 if lfs else digest_of(path, 40)
        )

    def hf_hub_download(self, repo: str, path: str, revision: str, local_dir: Path) -> str:
        assert revision == "abc123"
        if path == self.dies_at:
            raise KeyboardInterrupt
        self.fetched.append(path)
        target = local_dir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.root / repo / path, target)
        if path == self.damages:
            target.write_bytes(target.read_bytes()[:-1] + b"?")
        return str(target)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderHub:
    """The Skywork release in small, with the parts that are not needed."""
    repo = tmp_path / "hub" / "Skywork" / "Matrix-Game-2.0"
    files = ["Wan2.1_VAE.pth", "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", CHECKPOINT]
    for name in [*files, "base_model/diffusion_pytorch_model.safetensors", "README.md", "xlm-roberta-large/x.bin"]:
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_bytes(safetensors_bytes() if name.endswith(".safetensors") else torch_bytes())
    made = FolderHub(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: made)
    monkeypatch.setenv("MG_MODELS", str(tmp_path / "models"))
    return made


def test_only_what_is_needed_and_only_once(hub: FolderHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = tmp_path / "models"
    assert len(problems(MODELS["universal"], root)) == 3
    assert run(mg.app, ["download", "universal", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert sorted(hub.fetched) == sorted(f["path"] for f in report["files"]) and len(hub.fetched) == 3
    assert report["folder"] == str(root / "Matrix-Game-2.0") and (root / "Matrix-Game-2.0" / CHECKPOINT).is_file()
    assert problems(MODELS["universal"], root) == []

    hub.fetched.clear()
    assert run(mg.app, ["download", "universal"]) == 0
    assert hub.fetched == [] and "complete: " in capsys.readouterr().out


GGUF = b"GGUF" + struct.pack("<IQQ", 3, 0, 0)


def publish(hub: FolderHub, model: Model) -> None:
    """Every file of a model, and one that nobody asked for, where it is published."""
    for one in (model, *model.also):
        for name in (*one.files, "README.md"):
            path = hub.root / one.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(GGUF if path.suffix == ".gguf" else safetensors_bytes())


@pytest.mark.parametrize("name", ["t2v-A14B-fp8", "i2v-A14B-fp8", "t2v-A14B-Q4_K_M", "i2v-A14B-Q4_K_M"])
def test_repackaged_models_come_whole_from_all_who_publish_them(
    hub: FolderHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
):
    model = MODELS[name]
    publish(hub, model)
    assert run(wan22_app.app, ["download", name, "--dry_run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["files"]) == 4 and all(file["size"] for file in report["files"]) and not hub.fetched
    assert run(wan22_app.app, ["download", name]) == 0
    root = tmp_path / "models"
    assert problems(model, root) == [] and len(hub.fetched) == 4 and not (root / model.folder / "README.md").exists()
    # the other kind has text encoder and VAE already
    other = name.replace("t2v", "T").replace("i2v", "t2v").replace("T", "i2v")
    publish(hub, MODELS[other])
    hub.fetched.clear()
    assert run(wan22_app.app, ["download", other]) == 0
    assert len(hub.fetched) == 2 and problems(MODELS[other], root) == []
    # a damaged file is as little kept as of any model
    encoder = next(path for path in (root / model.folder).rglob("*umt5*"))
    encoder.unlink()
    hub.damages = str(encoder.relative_to(root / model.folder))
    assert run(wan22_app.app, ["download", name]) == 2
    assert "has another content" in capsys.readouterr().err and not encoder.exists()


def test_a_repository_that_is_gone_from_one_of_several_is_named(hub: FolderHub, capsys: pytest.CaptureFixture[str]):
    model = MODELS["t2v-A14B-Q4_K_M"]
    publish(hub, model)
    shutil.rmtree(hub.root / "city96")
    assert run(mg.app, ["download", "t2v-A14B-Q4_K_M"]) == 2
    assert "city96/umt5-xxl-encoder-gguf no longer has umt5-xxl-encoder-Q8_0.gguf" in capsys.readouterr().err


def test_dry_run_lists_and_fetches_nothing(hub: FolderHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(mg.app, ["download", "universal", "--dry-run", "--dir", str(tmp_path / "x")]) == 0
    assert CHECKPOINT in capsys.readouterr().out
    assert hub.fetched == [] and not (tmp_path / "x").exists()


def test_goes_on_after_an_interruption(hub: FolderHub, capsys: pytest.CaptureFixture[str]):
    hub.dies_at = CHECKPOINT
    assert run(mg.app, ["download", "universal"]) == 130
    assert len(hub.fetched) == 1
    hub.dies_at = ""
    assert run(mg.app, ["download", "universal"]) == 0
    assert len(hub.fetched) == len(set(hub.fetched)) == 3


def test_a_damaged_file_is_named(hub: FolderHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    published = tmp_path / "hub" / "Skywork" / "Matrix-Game-2.0" / CHECKPOINT
    published.write_bytes(published.read_bytes()[:-1])
    assert run(mg.app, ["download", "universal"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "base_distill.safetensors" in error and "delete" in error


@pytest.mark.parametrize("name", [CHECKPOINT, "Wan2.1_VAE.pth"])
def test_a_file_of_another_content_is_not_kept(
    hub: FolderHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
):
    hub.damages = name
    assert run(mg.app, ["download", "universal"]) == 2
    assert f"{name} has another content" in capsys.readouterr().err
    assert not (tmp_path / "models" / "Matrix-Game-2.0" / name).exists()
    hub.damages = ""
    assert run(mg.app, ["download", "universal"]) == 0


def test_a_renamed_file_is_named(hub: FolderHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "hub" / "Skywork" / "Matrix-Game-2.0" / CHECKPOINT).unlink()
    assert run(mg.app, ["download", "universal"]) == 2
    assert f"no longer has {CHECKPOINT}" in capsys.readouterr().err


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(MODELS, "taew2_1", Model("https://127.0.0.1:9", "taehv", ("taew2_1.pth",)))
    for name in ("universal", "taew2_1"):
        assert run(mg.app, ["download", name]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: cannot reach ") and "check the network" in err and err.count("\n") == 1


def test_disk_check(tmp_path: Path):
    require_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(ValueError, match=r"1000000\.00 GB to download, .* free at .*use --dir"):
        require_space(tmp_path / "not" / "yet", 10**15)


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    """Serves `content` at any path, `most` bytes at a time; `ranges` says whether it honours Range; `asked` records what
    was asked for."""
    state = SimpleNamespace(content=torch_bytes(), ranges=True, asked=[], most=None)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(200, state.content)

        def do_GET(self) -> None:
            asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            state.asked.append(asked and int(asked[1]))
            start = int(asked[1]) if asked and state.ranges else 0
            if start >= len(state.content):
                self.answer(416, b"")
                return
            self.answer(206 if start else 200, state.content[start:])
            self.wfile.write(state.content[start:][: state.most])

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    state.address = f"http://127.0.0.1:{running.server_port}"
    yield state
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("had", [0, 100])
def test_web_resumes(server: SimpleNamespace, tmp_path: Path, ranges: bool, had: int):
    server.ranges = ranges
    source = Web(Model(server.address, "taehv", ("taew2_1.pth",)))
    files = source.files()
    assert files == [RemoteFile("taew2_1.pth", len(server.content))] and missing(files, tmp_path) == files
    if had:
        (tmp_path / "taew2_1.pth.part").write_bytes(server.content[:had])
    source.fetch(files[0], tmp_path)
    assert (tmp_path / "taew2_1.pth").read_bytes() == server.content
    assert server.asked == [had or None] and not list(tmp_path.glob("*.part"))
    verify(files, tmp_path)


def test_a_download_cut_short_is_not_the_file_and_goes_on(server: SimpleNamespace, tmp_path: Path):
    server.most = 700
    source = Web(Model(server.address, "taehv", ("taew2_1.pth",)))
    [file] = source.files()
    with pytest.raises(ConnectionError, match="broke off after 0.0 MB of 0.0 MB; the same command goes on there"):
        source.fetch(file, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["taew2_1.pth.part"]
    server.most = None
    source.fetch(file, tmp_path)
    assert (tmp_path / "taew2_1.pth").read_bytes() == server.content and server.asked == [None, 700]


def test_a_part_that_is_whole_is_finished_and_one_that_is_too_long_begun_again(server: SimpleNamespace, tmp_path: Path):
    source = Web(Model(server.address, "taehv", ("taew2_1.pth",), {"taew2_1.pth": git_id(server.content)}))
    [file] = source.files()
    for had, asked in ((server.content, []), (server.content + b"more", [None])):
        (tmp_path / "taew2_1.pth.part").write_bytes(had)
        source.fetch(file, tmp_path)
        assert (tmp_path / "taew2_1.pth").read_bytes() == server.content and server.asked == asked
        assert not list(tmp_path.glob("*.part"))


def test_another_content_of_the_same_size_is_not_the_file(server: SimpleNamespace, tmp_path: Path):
    source = Web(Model(server.address, "taehv", ("taew2_1.pth",), {"taew2_1.pth": git_id(server.content)}))
    [file] = source.files()
    (tmp_path / "taew2_1.pth.part").write_bytes(b"of another version")
    with pytest.raises(ValueError, match="taew2_1.pth has another content"):
        source.fetch(file, tmp_path)
    assert not list(tmp_path.iterdir())
    source.fetch(file, tmp_path)


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_what_incomplete_means(tmp_path: Path):
    """Shards that the index names, cut files, LFS pointers: seen without a network."""
    folder = tmp_path / "Wan2.2-T2V-A14B"
    for expert in ("high_noise_model", "low_noise_model"):
        (folder / expert).mkdir(parents=True)
        (folder / expert / "config.json").write_text("{}")
        (folder / expert / "a-00001-of-00002.safetensors").write_bytes(safetensors_bytes("v"))
        (folder / expert / "a-00002-of-00002.safetensors").write_bytes(safetensors_bytes())
        index = {"weight_map": {"v": "a-00001-of-00002.safetensors", "w": "a-00002-of-00002.safetensors"}}
        (folder / expert / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "google/umt5-xxl").mkdir(parents=True)
    for name in ("Wan2.1_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/tokenizer.json"):
        (folder / name).write_bytes(torch_bytes())
    model = MODELS["t2v-A14B"]
    assert problems(model, tmp_path) == []

    shard = folder / "low_noise_model" / "a-00002-of-00002.safetensors"
    for content, said in [
        (safetensors_bytes()[:-10], "incomplete"),
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid ...", "git-LFS pointer"),
        (b"<html>404: not here</html>", "web page"),
    ]:
        shard.write_bytes(content)
        (line,) = problems(model, tmp_path)
        assert said in line and str(shard) in line
    shard.unlink()
    (line,) = problems(model, tmp_path)
    assert shard.name in line and "not beside it" in line


def test_models_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MG_MODELS", str(tmp_path))
    assert models.models_dir() == tmp_path and models.models_dir(Path("x")) == Path("x")
    monkeypatch.delenv("MG_MODELS")
    assert models.models_dir() == Path.home() / ".cache/mgcli/models"


def test_size_text():
    assert [size_text(s) for s in (22_700_000, 3_240_000_000)] == ["22.7 MB", "3.24 GB"]
