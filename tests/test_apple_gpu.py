"""The commands on an Apple GPU, as far as tests/apple_gpu.py can play one; no Mac was at hand.

Nothing in float64 reaches it, nothing of the host's mixes with what is there, and the results are the CPU's.
"""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mgcli import mg, wan22_app
from mgcli.app import devices
from mgcli.app.devices import device_and_dtype, out_of_memory_as
from mgcli.app.errors import run
from tests import apple_gpu
from tests.tiny_checkpoints import write_wan22
from wan.device import peak_gib, release, wait_for
from wan.modules.layers import sinusoid
from wan.modules.rope import rope_table

WORLD = "--height 32 --width 48 --save_latents --actions WL*21".split()
VIDEO = "--size 48*32 --any_size --frame_num 9 --base_seed 1 --sample_steps 4 --save_latents".split()


@pytest.fixture
def mac(monkeypatch):
    with apple_gpu.apple_gpu(monkeypatch):
        yield


def world(folder: Path, device: str, *flags: str) -> torch.Tensor:
    assert run(mg.app, ["generate", *WORLD, "--output", str(folder / f"{device}.mp4"), "--device", device, *flags]) == 0
    return load_file(folder / f"{device}_latents.safetensors")["latents"]


def test_a_world_is_that_of_the_cpu(tmp_path, mac):
    made = [world(tmp_path, device, "--dtype", "float32") for device in ("cpu", "mps")]
    assert (made[0] - made[1]).abs().max() < 1e-4  # the VAE's encoder convolves in another order


@pytest.mark.parametrize("kind", ["t2v", "i2v"])
def test_a_video_is_that_of_the_cpu(tmp_path, mac, kind):
    release = write_wan22(tmp_path / "release", kind)
    image = ["--image", "wanmini/start_images/valley.jpg"] if kind == "i2v" else []
    flags = ["--ckpt_dir", release, "--prompt", "a cat", *image, *VIDEO, "--enable_half_frame_generation", "--dtype", "float32"]  # fmt: skip
    for device in ("cpu", "mps"):
        where = ["--save_file", tmp_path / f"{device}.mp4", "--device", device]
        assert run(wan22_app.app, [kind, *map(str, flags), *map(str, where)]) == 0
    made = [load_file(tmp_path / f"{device}.safetensors")["latents"] for device in ("cpu", "mps")]
    assert (made[0] - made[1]).abs().max() < 1e-4


def test_a_world_in_its_own_dtype_asks_for_what_it_has_kernels_for(tmp_path, mac):
    """By torch's own table, which names for each the devices it was written for."""
    apple_gpu.ASKED.clear()
    assert world(tmp_path, "mps").isfinite().all()
    table = files("torchgen") / "packaged" / "ATen" / "native" / "native_functions.yaml"
    known = {entry["func"].partition("(")[0]: entry for entry in yaml.safe_load(table.read_text(encoding="utf-8"))}
    asked = {name.removeprefix("aten::") for name in apple_gpu.ASKED}
    assert len(asked) > 40
    assert {name for name in asked if not has_kernel(known, name)} == set()


def has_kernel(known: dict, name: str) -> bool:
    entry = known[name if name in known else name.removesuffix(".default")]
    if "structured_delegate" in entry:
        return has_kernel(known, entry["structured_delegate"])
    places = {place.strip() for keys in entry.get("dispatch", {"Composite": ""}) for place in keys.split(",")}
    return any(place == "MPS" or place.startswith("Composite") for place in places)


# --- what is chosen ---------------------------------------------------------------------------------------------------


def test_it_is_taken_where_it_works(mac, capsys):
    assert device_and_dtype("auto", "auto") == (torch.device("mps"), torch.bfloat16)
    assert device_and_dtype("mps", "float32") == (torch.device("mps"), torch.float32)
    assert device_and_dtype("cpu", "auto") == (torch.device("cpu"), torch.float32)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "fault, reason",
    [
        (RuntimeError("Conv3D is only supported on MPS for MacOS_13_2 or newer"), "Conv3D is only supported on MPS"),
        (TypeError("BFloat16 is not supported on MPS"), "BFloat16 is not supported on MPS"),
        (None, "bfloat16 comes out wrong"),
    ],
)
def test_where_it_does_not_work_it_is_left_alone_or_refused(mac, monkeypatch, capsys, fault, reason):
    def convolve(x, weight):
        if fault:
            raise fault
        return torch.zeros(1, 16, 1, 2, 2, device=x.device, dtype=x.dtype)

    monkeypatch.setattr(devices.F, "conv3d", convolve)
    assert device_and_dtype("auto", "auto") == (torch.device("cpu"), torch.float32)
    said = capsys.readouterr().err
    assert f"this Mac's GPU is left alone ({reason}" in said and "the run is on the CPU" in said
    with pytest.raises(ValueError, match="device 'mps' cannot do this run .*use --device cpu"):
        device_and_dtype("mps", "auto")


def test_no_mac_no_such_device():
    assert device_and_dtype("auto", "auto")[0].type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.backends.mps.is_available():
        with pytest.raises(ValueError, match="device 'mps' cannot be used here"):
            device_and_dtype("mps", "auto")


def test_what_needs_cuda_is_refused_there(tmp_path, mac, capsys):
    for flag, words in (("--graphs", "graphs need a CUDA GPU"), ("--fp8", "8-bit floats need a CUDA GPU")):
        assert run(mg.app, ["generate", *WORLD, "--output", str(tmp_path / "a.mp4"), "--device", "mps", flag]) == 2
        assert f"{words}, this run is on mps" in capsys.readouterr().err


def test_waiting_and_forgetting_there(mac):
    device = torch.device("mps")
    wait_for(device)
    release(device)
    assert peak_gib(device) is None


def test_its_memory_runs_out_in_words_of_its_own():
    with pytest.raises(ValueError, match="less"), out_of_memory_as(lambda error: ValueError(f"ask for less ({error})")):
        raise RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB)")
    with pytest.raises(RuntimeError, match="else"), out_of_memory_as(lambda error: ValueError(error)):
        raise RuntimeError("something else")


# --- the stand-in -----------------------------------------------------------------------------------------------------


def test_it_has_the_habits_that_bite(mac):
    there = torch.ones(2, device="mps")
    for wide in (lambda: there.double(), lambda: torch.tensor([0.1], dtype=torch.float64, device="mps"), lambda: torch.zeros(2, dtype=torch.float64).to("mps")):  # fmt: skip
        with pytest.raises(TypeError, match="doesn't support float64"):
            wide()
    with pytest.raises(RuntimeError, match="on the same device"):
        there + torch.ones(2)
    assert (there.is_cpu, there.is_cuda, there.device.type) == (False, False, "mps")
    assert (there * 2 + 1).cpu().tolist() == [3, 3]


def test_angles_are_as_fine_there_as_on_the_host(mac):
    """They are computed in float64: on the host where the device has none."""
    for at_once, after in zip(rope_table(range(900, 903), 2, 3, (8, 4, 4), device="mps"), rope_table(range(900, 903), 2, 3, (8, 4, 4))):  # fmt: skip
        assert torch.equal(at_once.cpu(), after)
    t = torch.tensor([908.8427, 713.98])
    assert torch.equal(sinusoid(t.to("mps"), 64).cpu(), sinusoid(t, 64))
