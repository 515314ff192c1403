"""`mg doctor` on whatever machine runs the tests, and its verdicts for machines it does not."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mgcli import mg
from mgcli.app import machine
from mgcli.app.downloads import require_space
from mgcli.app.errors import run
from mgcli.app.models import MODELS, models_dir, problems
from tests.tiny_checkpoints import write_comfyui, write_wan22


def test_json_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "taehv").mkdir()
    torch.save({"w": torch.zeros(4)}, tmp_path / "taehv" / "taew2_1.pth")
    assert run(mg.app, ["doctor", "--json", "--dir", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["versions"]["torch"] == torch.__version__
    assert report["attention"]["sdpa"] == "ok"
    assert report["ffmpeg"]["problem"] is None and Path(report["ffmpeg"]["path"]).is_file()
    assert len(report["devices"]) == torch.cuda.device_count() or torch.backends.mps.is_available()
    assert {name for name, model in report["models"].items() if model["complete"]} == {"taew2_1"}
    assert set(report["models"]) == set(MODELS)


def test_human_report_is_short_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(mg.app, ["doctor", "--dir", str(tmp_path / "not yet")]) == 0
    shown = capsys.readouterr().out
    assert "universal: missing: Wan2.1_VAE.pth (and 2 more); mg download universal --dir " in shown
    assert "t2v-A14B: missing: Wan2.1_VAE.pth (and 8 more); wan22 download t2v-A14B --dir " in shown
    assert [line.split()[0] for line in shown.splitlines() if not line.startswith(" ")][:3] == [
        "machine",
        "versions",
        "attention",
    ]


def test_another_program_in_the_place_of_ffmpeg(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    assert run(mg.app, ["doctor", "--json", "--dir", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)["ffmpeg"]
    assert found["path"] == "/bin/false" and found["version"] is None
    assert "no video can be written (ffmpeg ended early with code 1: /bin/false)" in found["problem"]


def test_a_machine_without_a_home(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    """A container whose user is in no list."""

    def unknown(_user: int) -> None:
        raise KeyError

    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "MG_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert run(mg.app, ["doctor"]) == 0
    assert "~/.cache/mgcli/models" in capsys.readouterr().out
    assert problems(MODELS["universal"], models_dir())
    with pytest.raises(ValueError, match="no home folder is known here .*--dir or MG_MODELS"):
        require_space(models_dir() / "Matrix-Game-2.0", 1)
    assert list(tmp_path.iterdir()) == []


def test_what_other_programs_have_fetched(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "COMFYUI_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MG_MODELS", str(tmp_path / "models"))
    assert run(mg.app, ["doctor"]) == 0
    shown = capsys.readouterr().out
    assert f"Hugging Face cache: nothing in {tmp_path / 'hf' / 'hub'}" in shown and "ComfyUI: name its folder" in shown

    snapshot = tmp_path / "hf" / "hub" / "models--Skywork--Matrix-Game-2.0" / "snapshots" / "abc"
    for name in MODELS["universal"].files:
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        save = save_file if name.endswith(".safetensors") else torch.save
        save({"w": torch.zeros(4)}, snapshot / name)
    comfyui = write_comfyui(tmp_path / "ComfyUI" / "models", write_wan22(tmp_path / "official"))
    (comfyui / "unet").mkdir()
    (comfyui / "unet" / "broken.safetensors").write_bytes(b"<html>")
    save_file({"w": torch.zeros(2)}, comfyui / "unet" / "another_model.safetensors")
    assert run(mg.app, ["doctor", "--comfyui", str(comfyui.parent), "--json"]) == 0
    elsewhere = json.loads(capsys.readouterr().out)["elsewhere"]
    cached = elsewhere["hub_cache"]["models"]
    assert cached["universal"] == {"folder": str(snapshot), "complete": True, "problems": []}
    assert not cached["gta_drive"]["complete"] and "t2v-A14B" not in cached
    files = {what: [Path(path).name for path in paths] for what, paths in elsewhere["comfyui"]["files"].items()}
    assert files == {
        "t2v-A14B high noise": ["wan2.2_t2v_high_noise_14B_fp16.safetensors"],
        "t2v-A14B low noise": ["wan2.2_t2v_low_noise_14B_fp16.safetensors"],
        "text encoder": ["umt5_xxl_fp16.safetensors"],
        "vae": ["wan_2.1_vae.safetensors"],
    }
    [unread] = elsewhere["comfyui"]["unread"]
    assert "broken.safetensors is a web page" in unread
    monkeypatch.setenv("COMFYUI_MODELS", str(comfyui))
    assert run(mg.app, ["doctor"]) == 0
    shown = capsys.readouterr().out
    assert f"Hugging Face cache: universal: complete ({snapshot})" in shown
    assert "ComfyUI: t2v-A14B high noise: diffusion_models/wan2.2_t2v_high" in shown and "ComfyUI: not read: " in shown
    assert run(mg.app, ["doctor", "--comfyui", str(tmp_path / "none")]) == 0
    assert "not read: no such folder: " in capsys.readouterr().out


@pytest.mark.parametrize("gib, fits", [([], 0), ([8.0], 1), ([24.0, 24.0], 1), ([47.5], 2), ([79.1], 3)])
def test_what_fits(gib: list[float], fits: int):
    verdicts = machine.can_run([{"name": "gpu", "memory_gib": g, "free_gib": g} for g in gib])
    assert [v["fits"] for v in verdicts] == [True] * fits + [False] * (3 - fits)
