"""`mg generate` on the embedded mini world: what it writes, that it repeats, and that every mistake is one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mgcli.app.errors import run
from mgcli.game.batch import plan_worlds
from mgcli.game.play.request import PlayRequest
from mgcli.game.request import GenerateRequest, StreamRequest, game_request
from mgcli.mg import app
from tests.bench.make_random_release import write_release
from wan.video.reader import count_frames, read_frames
from wanmini import sizes
from wanmini.start_image import VALLEY
from wanmini.weights import SAMPLING

ROOT = Path(__file__).parents[3]
SMALL = ["--height", "32", "--width", "48"]


def generate(*flags, size=SMALL) -> int:
    return run(app, ["generate", *size, *map(str, flags)])


def latents(path: Path) -> torch.Tensor:
    return load_file(path)["latents"]


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """A released folder at toy size; its checkpoint."""
    return write_release(tmp_path_factory.mktemp("release"), "universal", small=True)


def test_everything_it_writes(tmp_path, capsys):
    video = tmp_path / "new" / "demo.mp4"
    assert generate("--output", video, "--actions", "W*9 WL*12", "--seed", 5, "--save_latents", "--json") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["outputs"][0]["video"] == str(video) and report["frames"] == 21
    assert err.count("no --checkpoint_path: the embedded mini world") == 1 and "frames/s" in err
    assert sorted(p.name for p in video.parent.iterdir()) == ["demo.json", "demo.mp4", "demo_icon.mp4", "demo_latents.safetensors"]  # fmt: skip
    assert count_frames(video) == count_frames(video.with_name("demo_icon.mp4")) == 21
    assert latents(video.with_name("demo_latents.safetensors")).shape == (1, 16, 6, 4, 6)
    assert len({p.stat().st_mode for p in video.parent.iterdir()}) == 1
    record = json.loads(video.with_suffix(".json").read_text())
    assert record["request"]["denoising_step_list"] == [1000, 750, 500, 250]
    assert (record["seed"], record["actions"], record["frames"]) == (5, "W*9 WL*12", 21)
    assert record["request"]["action_seed"] == 0 and len(record["timings"]["per_block"]) == 2
    assert record["versions"]["torch"] and record["device"] == "cpu"


def test_the_icon_twin_shows_the_keys(tmp_path):
    video = tmp_path / "demo.mp4"
    assert generate("--output", video, "--num_output_frames", 3, size=["--height", "96", "--width", "160"]) == 0
    plain, icon = (np.stack(list(read_frames(p))).astype(int) for p in (video, tmp_path / "demo_icon.mp4"))
    change = np.abs(plain - icon).mean((0, 3))
    assert change[50:, :50].mean() > 10 and change[:40].mean() < 3


def test_two_runs_give_the_same_latents_and_other_seeds_do_not(tmp_path):
    for name, seed, action_seed in (("a", 1, 2), ("b", 1, 2), ("noise", 2, 2), ("walk", 1, 3)):
        flags = ["--seed", seed, "--action_seed", action_seed, "--actions", "random", "--num_output_frames", 9]
        assert generate("--output", tmp_path / f"{name}.mp4", "--save_latents", "--quiet", *flags) == 0
    a, b, noise, walk = (latents(tmp_path / f"{name}_latents.safetensors") for name in ("a", "b", "noise", "walk"))
    assert torch.equal(a, b) and not torch.equal(a, noise) and not torch.equal(a, walk)
    actions = [json.loads((tmp_path / f"{name}.json").read_text())["actions"] for name in ("a", "noise", "walk")]
    assert actions[0] == actions[1] != actions[2]


def test_a_batch_is_its_worlds_alone(tmp_path):
    Image.new("RGB", (64, 40), "teal").save(tmp_path / "teal.png")
    flags = ["--save_latents", "--num_output_frames", 6]
    both = ["--actions", "W*21", "--actions", "J*21", "--image", tmp_path / "teal.png"]
    assert generate("--output", tmp_path / "both.mp4", *both, "--seed", 7, *flags) == 0
    alone = ["--actions", "J*21", "--image", tmp_path / "teal.png", "--seed", 8]
    assert generate("--output", tmp_path / "alone.mp4", *alone, *flags) == 0
    assert count_frames(tmp_path / "both_0_icon.mp4") == 21
    together, single = latents(tmp_path / "both_1_latents.safetensors"), latents(tmp_path / "alone_latents.safetensors")
    torch.testing.assert_close(together, single, rtol=1e-4, atol=1e-4)  # a batched product sums in another order


def test_a_batch_of_one_image_counts_its_seeds_up():
    request, plans = plan_worlds(game_request(GenerateRequest, {"batch": 3, "seed": 4, "actions": ["random"]}))
    assert [plan.seed for plan in plans] == [4, 5, 6] and request.num_output_frames == 150
    assert len({str(plan.script) for plan in plans}) == 3
    with pytest.raises(ValueError, match="2 x --actions for 3 worlds: give 1 or 3"):
        plan_worlds(game_request(GenerateRequest, {"batch": 3, "actions": ["W*9", "S*9"]}))


def test_length_follows_the_actions_unless_given():
    for actions, given, want in (("W*9", None, 3), ("W*10", None, 6), ("W*57", None, 15), ("W*57", 30, 30)):
        request, _ = plan_worlds(game_request(GenerateRequest, {"actions": [actions], "num_output_frames": given}))
        assert request.num_output_frames == want


@pytest.mark.parametrize("actions, words", [("W*9", "the actions end at frame 9 of 21: the last one, W, is held"), ("W*90", "the video ends at frame 21 of the 90")])  # fmt: skip
def test_actions_of_another_length_are_said(tmp_path, capsys, actions, words):
    assert generate("--output", tmp_path / "a.mp4", "--actions", actions, "--num_output_frames", 6) == 0
    assert words in capsys.readouterr().err


def test_a_profile_names_the_parts(tmp_path, capsys):
    assert generate("--output", tmp_path / "a.mp4", "--num_output_frames", 9, "--enable_profile", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    parts = {"denoise", "clean pass", "decode", "self attention", "cross attention", "action", "ffn", "cache"}
    assert set(report["profile"]) == parts and all(seconds > 0 for seconds in report["profile"].values())
    assert "traceEvents" in json.loads((tmp_path / "a_trace.json").read_text())


# --- weights and presets ----------------------------------------------------------------------------------------------


def test_a_released_folder_plays_and_its_mode_is_known(tmp_path, release, capsys):
    flags = ["--actions", "W*21", "--save_latents", "--json"]
    assert generate("--output", tmp_path / "a.mp4", "--checkpoint_path", release, *flags) == 0
    assert json.loads(capsys.readouterr().out)["mode"] == "universal"
    other = ["--checkpoint_path", release.parent, "--pretrained_model_path", release.parents[1], "--mode", "universal"]
    assert generate("--output", tmp_path / "b.mp4", *other, *flags) == 0
    assert torch.equal(latents(tmp_path / "a_latents.safetensors"), latents(tmp_path / "b_latents.safetensors"))


@pytest.mark.parametrize("mode, steps", [("universal", 3), ("gta_drive", 3), ("templerun", 4)])
def test_official_configurations_are_read_as_they_are(mode, steps):
    given = {"config_path": f"configs/inference_yaml/inference_{mode}.yaml", "checkpoint_path": "somewhere"}
    request = game_request(GenerateRequest, given)
    assert request.mode == mode and len(request.denoising_step_list) == steps
    assert (request.height, request.width, request.timestep_shift, request.seed) == (352, 640, 5.0, 42)
    assert request.local_attn_size == (4 if mode == "gta_drive" else 6)
    assert game_request(GenerateRequest, given | {"seed": 0, "height": 64}).seed == 0


def test_a_checkout_of_something_else_changes_nothing_by_itself(tmp_path, monkeypatch):
    yaml, config = Path("configs/inference_yaml/inference_universal.yaml"), Path("configs/distilled_model/universal")
    ours = game_request(GenerateRequest, {"mode": "universal", "checkpoint_path": "x"})
    monkeypatch.chdir(tmp_path)
    yaml.parent.mkdir(parents=True)
    yaml.write_text(
        "denoising_step_list: [1000, 250]\nmodel_kwargs:\n  model_config: configs/distilled_model/universal\n"
    )
    config.mkdir(parents=True)
    (config / "config.json").write_text('{"local_attn_size": 99}')
    assert game_request(GenerateRequest, {"mode": "universal", "checkpoint_path": "x"}) == ours
    chosen = game_request(GenerateRequest, {"config_path": str(yaml), "checkpoint_path": "x", "mode": "universal"})
    assert (chosen.denoising_step_list, chosen.local_attn_size) == ((1000, 250), 6)
    assert chosen.config_path == str(tmp_path / yaml)  # and the record says so
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"local_attn_size": 12}')
    yaml.write_text("model_kwargs:\n  model_config: mine\n")
    assert (
        game_request(
            GenerateRequest, {"config_path": str(yaml), "checkpoint_path": "x", "mode": "universal"}
        ).local_attn_size
        == 12
    )


def test_a_mode_brings_its_own_steps_without_a_configuration():
    assert len(game_request(GenerateRequest, {"mode": "templerun"}).denoising_step_list) == 4


def test_without_a_checkpoint_the_defaults_are_the_minis():
    for cls in (GenerateRequest, StreamRequest, PlayRequest):
        request = game_request(cls, {})
        assert (request.height, request.width, request.sampling()) == (sizes.HEIGHT, sizes.WIDTH, SAMPLING)
    released = {"config_path": "configs/inference_yaml/inference_universal.yaml", "timestep_shift": 3.0}
    request = game_request(GenerateRequest, released)
    assert (request.denoising_step_list, request.timestep_shift) == ((1000, 666, 333), 3.0)
    assert (request.height, request.width) == (sizes.HEIGHT, sizes.WIDTH)
    assert game_request(GenerateRequest, {"mode": "gta_drive"}).default_image == VALLEY


def test_a_mode_without_a_trained_mini_says_so(tmp_path, capsys):
    assert generate("--output", tmp_path / "a.mp4", "--mode", "templerun", "--num_output_frames", 3) == 0
    assert (
        "the embedded mini world is universal: for templerun a tiny model with random weights"
        in capsys.readouterr().err
    )


def test_a_configuration_changes_the_rollout(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("denoising_step_list: [1000, 500]\nnum_frame_per_block: 2\nmodel_kwargs:\n  local_attn_size: 4\n  timestep_shift: 3.0\n")  # fmt: skip
    assert generate("--output", tmp_path / "a.mp4", "--config_path", config, "--num_output_frames", 4) == 0
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["frames"] == 13 and record["request"]["timestep_shift"] == 3.0


@pytest.mark.parametrize(
    "content, words",
    [
        ("denoising_step_lists: [1000]", "unknown key 'denoising_step_lists'; did you mean 'denoising_step_list'?"),
        ("model_kwargs:\n  timestep_shft: 5.0", "did you mean 'timestep_shift'?"),
        ("image_or_video_shape: [1, 2]", "image_or_video_shape [1, 2] is not"),
        ("model_kwargs: 3", "model_kwargs is 3"),
        ("mode: walking", "mode: expected one of"),
        ("denoising_step_list: [1000, 0]", "must be numbers from 1 to 1000"),
    ],
)
def test_mistakes_in_a_configuration(tmp_path, capsys, content, words):
    (tmp_path / "mine.yaml").write_text(content)
    assert generate("--output", tmp_path / "a.mp4", "--config_path", tmp_path / "mine.yaml") == 2
    assert words in only_line(capsys) and not (tmp_path / "a.mp4").exists()


# --- bad input --------------------------------------------------------------------------------------------------------


def only_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    return lines[0]


def refused(tmp_path, capsys, *flags, output="a.mp4") -> str:
    """The one line; nothing may be left behind."""
    before = set(tmp_path.rglob("*"))
    assert generate("--output", tmp_path / output, *flags) == 2
    left = set(tmp_path.rglob("*")) - before
    assert not [p for p in left if p.is_file()]
    return only_line(capsys)


def test_images_that_cannot_be_used(tmp_path, capsys):
    assert "no such file" in refused(tmp_path, capsys, "--image", tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("hello")
    assert "is not an image" in refused(tmp_path, capsys, "--image", tmp_path / "text.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert "is 1x1 pixels" in refused(tmp_path, capsys, "--image", tmp_path / "dot.png")
    Image.new("1", (15000, 15000)).save(tmp_path / "huge.png")
    assert "megapixels: scale it down" in refused(tmp_path, capsys, "--image", tmp_path / "huge.png")
    assert "folder" in refused(tmp_path, capsys, "--image", tmp_path)


def test_images_with_alpha_or_a_rotation_are_fine(tmp_path):
    Image.new("RGBA", (64, 40), (255, 0, 0, 90)).save(tmp_path / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 40), "red").save(tmp_path / "turned.jpg", exif=exif)
    flags = ["--image", tmp_path / "alpha.png", "--image", tmp_path / "turned.jpg", "--num_output_frames", 3]
    assert generate("--output", tmp_path / "a.mp4", *flags) == 0


def test_lengths_and_actions_that_cannot_be_used(tmp_path, capsys):
    assert "use 150 or 153" in refused(tmp_path, capsys, "--num_output_frames", 151)
    assert "must be from 3 to 999999; nearest is 3" in refused(tmp_path, capsys, "--num_output_frames", 0)
    assert "nearest is 999999" in refused(tmp_path, capsys, "--actions", "W*1000000000000")
    assert "line 1, column 6: 'X' is not a key of mode universal" in refused(tmp_path, capsys, "--actions", "W*24 X*3")
    assert "not a key of mode gta_drive" in refused(tmp_path, capsys, "--actions", "L*9", "--mode", "gta_drive")
    (tmp_path / "run.json").write_text('{"mode": "templerun", "actions": "W*9"}')
    assert "is a script for mode templerun" in refused(tmp_path, capsys, "--actions", tmp_path / "run.json")
    assert "no action file" in refused(tmp_path, capsys, "--actions", tmp_path / "missing.txt")


def test_places_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "is a file where a folder is needed" in refused(tmp_path, capsys, output="file/a.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert "is a folder: name a file in it" in refused(tmp_path, capsys, output="folder.mp4")
    assert "is not an .mp4 file" in refused(tmp_path, capsys, output="a.avi")


def test_a_second_world_goes_beside_the_first_unless_told_to_replace_it(tmp_path, capsys):
    quick = ["--num_output_frames", 3, "--json"]

    def made(*flags) -> list[str]:
        assert generate("--output", tmp_path / "a.mp4", *quick, *flags) == 0
        return [Path(files["video"]).name for files in json.loads(capsys.readouterr().out)["outputs"]]

    assert made("--save_latents") == ["a.mp4"]
    first = {name: (tmp_path / name).read_bytes() for name in ("a.mp4", "a.json", "a_icon.mp4")}
    assert made("--seed", 1) == ["a-2.mp4"]
    assert json.loads((tmp_path / "a-2.json").read_text())["request"]["output"] == str(tmp_path / "a-2.mp4")
    assert made("--batch", 2) == ["a_0.mp4", "a_1.mp4"] and made("--batch", 2) == ["a-2_0.mp4", "a-2_1.mp4"]
    assert {name: (tmp_path / name).read_bytes() for name in first} == first
    assert made("--overwrite", "--seed", 2) == ["a.mp4"]
    assert json.loads((tmp_path / "a.json").read_text())["seed"] == 2
    assert not (tmp_path / "a_latents.safetensors").exists()  # they were of the world that was replaced


def test_a_default_that_is_taken_is_numbered(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "demo-2"):
        assert run(app, ["generate", *SMALL, "--num_output_frames", "3", "--quiet"]) == 0
        assert capsys.readouterr().out.startswith(f"outputs/{name}.mp4 (with keys: outputs/{name}_icon.mp4)")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "not permitted" in refused(tmp_path, capsys, output="locked/a.mp4")


def test_an_ffmpeg_that_cannot_encode_is_said_before_anything_is_loaded(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/true")
    assert "no video can be written (ffmpeg ended early with code 0: /bin/true)" in refused(tmp_path, capsys)


def test_other_values_that_cannot_be_used(tmp_path, capsys, release):
    assert "height 40 does not fit the models, which need a multiple of 16: use 32 or 48" in refused(
        tmp_path, capsys, "--height", 40
    )
    for fps in (0, 0.0001, 0.99, 240.1, "nan", "inf"):
        assert f"fps {float(fps)} must be from 1 to 240" in refused(tmp_path, capsys, "--fps", fps)
    assert "device 'gpu'" in refused(tmp_path, capsys, "--device", "gpu")
    assert "mode: expected one of" in refused(tmp_path, capsys, "--mode", "doom")
    assert "dtype: expected one of" in refused(tmp_path, capsys, "--dtype", "int8")
    assert "no such file" in refused(tmp_path, capsys, "--checkpoint_path", tmp_path / "missing.safetensors")
    other = refused(tmp_path, capsys, "--checkpoint_path", release, "--mode", "templerun")
    assert "is a universal model, not templerun" in other
    for flag in ("--tiny_vae", "--pretrained_model_path"):
        assert f"{flag} belongs to a released model" in refused(tmp_path, capsys, flag, tmp_path / "some")
    (tmp_path / "lone").mkdir()
    lone = tmp_path / "lone" / "model.safetensors"
    lone.write_bytes(release.read_bytes())
    assert "say where they are with --pretrained_model_path" in refused(tmp_path, capsys, "--checkpoint_path", lone)


# --- stopped from outside ---------------------------------------------------------------------------------------------


def started(tmp_path, *flags, prepare=None) -> subprocess.Popen:
    """A long run in a process of its own, some blocks in; it hears Ctrl-C even if the tests run in the background."""

    def before_it_starts() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if prepare:
            prepare()

    command = [sys.executable, "-c", "from mgcli.mg import main; main()", "generate", *SMALL]
    command += ["--output", str(tmp_path / "a.mp4"), "--num_output_frames", "3000", "--actions", "random", *flags]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=before_it_starts, start_new_session=True
    )


def wait_for_blocks(process: subprocess.Popen, path: Path, size: int = 20_000) -> None:
    end = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size > size):
        assert process.poll() is None and time.monotonic() < end, process.communicate()[1]
        time.sleep(0.02)


def test_kill_9_leaves_whole_blocks_that_play(tmp_path):
    process = started(tmp_path)
    wait_for_blocks(process, tmp_path / "a.mp4")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    plain, icon = (count_frames(tmp_path / name) for name in ("a.mp4", "a_icon.mp4"))
    assert plain >= 21 and (plain - 9) % 12 == 0
    assert icon in (plain, plain - 12)


def test_ctrl_c_leaves_what_was_finished_and_says_so(tmp_path):
    process = started(tmp_path)
    wait_for_blocks(process, tmp_path / "a.mp4")
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate()[1]
    assert process.returncode == 130 and "Traceback" not in error
    assert count_frames(tmp_path / "a.mp4") >= 21
    assert not [p for p in tmp_path.iterdir() if "part" in p.name or "lock" in p.name]
    assert json.loads((tmp_path / "a.json").read_text())["frames"] == count_frames(tmp_path / "a.mp4")


def test_a_world_that_replaces_another_is_never_beside_its_record(tmp_path):
    assert generate("--output", tmp_path / "a.mp4", "--seed", 5, "--num_output_frames", 3, "--save_latents") == 0
    before = (tmp_path / "a.mp4").read_bytes()
    process = started(tmp_path, "--overwrite", "--seed", "6")
    wait_for_blocks(process, tmp_path / "a.mp4")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "a.mp4").read_bytes() != before and not (tmp_path / "a_latents.safetensors").exists()
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["seed"] == 6 and record["frames"] in (count_frames(tmp_path / "a.mp4") - n for n in (0, 12))


def limit_file_size() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))


def test_a_file_that_can_grow_no_more_is_one_line_and_keeps_whole_blocks(tmp_path):
    process = started(tmp_path, prepare=limit_file_size)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    lines = [line for line in error.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "a.mp4" in lines[0] or "a_icon.mp4" in lines[0]
    assert (count_frames(tmp_path / "a.mp4") - 9) % 12 == 0


def test_graphs_may_be_switched_off():
    assert game_request(GenerateRequest, {"graphs": False, "save_latents": False}).speed().graphs is False
    assert game_request(GenerateRequest, {"save_latents": False}).speed().graphs is None


def test_fp8_reaches_the_model():
    assert (
        game_request(GenerateRequest, {"fp8": True}).speed().fp8 and not game_request(GenerateRequest, {}).speed().fp8
    )
