"""`wan22 t2v` and `wan22 i2v` from end to end on tiny random checkpoints: files, records, seeds, and what is refused how."""

import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mgcli import wan22_app
from mgcli.app.errors import run
from mgcli.video import run as wan22_run
from mgcli.video.mini import EXAMPLE, require_understood
from mgcli.video.request import wan22_request
from tests.tiny_checkpoints import TEXT_LEN, write_wan22
from wan.fast.speed import Speed
from wan.modules.vae import WanVAE
from wan.schedule import SCHEDULES
from wan.video.reader import read_frames
from wan22 import parts
from wan22.config import seeded
from wan22.plan import planned
from wanmini import sizes
from wanmini.scenes import Scenes, captions
from wanmini.scenes.understood import names_a_shape, unknown_words

TINY = ["--size", "96*64", "--any_size", "--frame_num", "9", "--sample_steps", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("wan22")
    return {kind: write_wan22(root / kind, kind) for kind in ("t2v", "i2v")}


@pytest.fixture
def t2v(folders, capsys, tmp_path):
    """Runs `wan22 t2v` on the tiny checkpoint -> code, JSON, stderr."""

    def call(*arguments: str, command: str = "t2v", folder: Path | None = None):
        given = [command, "--json", "--ckpt_dir", str(folder or folders[command]), *TINY]
        if "--save_file" not in arguments:
            given += ["--save_file", str(tmp_path / "a.mp4")]
        code = run(wan22_app.app, [*given, *arguments])
        shown = capsys.readouterr()
        return code, json.loads(shown.out), shown.err

    return call


def test_a_video_with_its_request_timings_and_latents(t2v, tmp_path):
    code, data, err = t2v("--prompt", "a cat", "--save_latents", "--base_seed", "3")
    assert code == 0, err
    frames = list(read_frames(tmp_path / "a.mp4"))
    assert len(frames) == 9 and frames[0].shape == (64, 96, 3)
    assert load_file(tmp_path / "a.safetensors")["latents"].shape == (1, 16, 3, 8, 12)
    assert len({p.stat().st_mode for p in tmp_path.iterdir()}) == 1
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["request"]["prompt"] == "a cat" and record["request"]["base_seed"] == 3
    assert record["request"]["sample_guide_scale"] == [3.0, 4.0]
    assert set(record["seconds"]) == {"text", "load", "high", "switch", "low", "decode"}
    assert data["videos"][0]["video"] == str(tmp_path / "a.mp4") and data["videos"][0]["totals"]["forwards"] == 8
    assert "low-noise expert, 3 of 3 latent frames, both prompts" in err


MACHINE = ["--residency", "stream", "--t5_cpu", "--vae_tiling", "--dtype", "float32", "--attention", "sdpa"]


@pytest.mark.parametrize(
    ("flags", "holds"),
    [
        (MACHINE, {"residency": "stream", "t5_cpu": True, "vae_tiling": True, "attention": "sdpa"}),
        (["--reference", "--sample_guide_scale", "2"], {"reference": True, "residency": "one", "attention": "auto"}),
        (["--enable_half_frame_generation", "--sample_shift", "9.5e0"], {"frame_completion": "repeat", "fp8": False}),
        (["--fp8"], {"fp8": True, "compile": False}),
    ],
)
def test_a_record_is_a_preset_that_makes_its_video_again(t2v, capsys, tmp_path, monkeypatch, flags, holds):
    monkeypatch.setattr(Speed, "_check_fp8", lambda self, device: None)  # for want of a GPU: the twin of its product
    code, data, _ = t2v("--prompt", "a cat: \u2028 {1}", "--save_latents", *flags)
    assert code == 0, data
    record = json.loads((tmp_path / "a.json").read_text())
    assert holds.items() <= record["request"].items() and record["request"]["ckpt_dir"] == record["checkpoint"]
    assert record["attention"] == {"backends": ["sdpa"], "shapes": {}}
    assert repeated(capsys, tmp_path, "t2v") == record["request"]


def test_the_record_of_an_image_asks_for_its_area_again(t2v, capsys, tmp_path):
    Image.fromarray(np.full((70, 100, 3), 99, np.uint8)).save(tmp_path / "start.png")
    code, data, _ = t2v("--prompt", "a cat", "--image", str(tmp_path / "start.png"), "--save_latents", command="i2v")
    assert code == 0 and data["videos"][0]["size"] == "80*64", data
    request = repeated(capsys, tmp_path, "i2v")
    assert (request["size"], request["any_size"], request["image"]) == ("96*64", True, str(tmp_path / "start.png"))


def repeated(capsys, tmp_path: Path, command: str) -> dict:
    """The request of the same video made from the record of `a`, into another file; the latents are the same bytes."""
    given = ["--config_path", str(tmp_path / "a.json"), "--save_file", str(tmp_path / "b.mp4")]
    assert run(wan22_app.app, [command, "--json", *given]) == 0, capsys.readouterr().out
    capsys.readouterr()
    first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert first["size"] == second["size"] and first["seed"] == second["seed"]
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert second["request"].pop("save_file") == str(tmp_path / "b.mp4")
    return second["request"] | {"save_file": first["request"]["save_file"]}


@pytest.mark.parametrize("residency", ["both", "stream"])
def test_the_same_seed_gives_the_same_latents_wherever_the_experts_live(t2v, tmp_path, residency):
    flags = ["--prompt", "a cat", "--save_latents", "--base_seed", "3", "--enable_half_frame_generation"]
    t2v(*flags, "--save_file", str(tmp_path / "one.mp4"), "--residency", "one")
    t2v(*flags, "--save_file", str(tmp_path / "other.mp4"), "--residency", residency)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()


def test_8_bit_experts_give_the_same_latents_wherever_they_live(t2v, tmp_path, monkeypatch):
    monkeypatch.setattr(Speed, "_check_fp8", lambda self, device: None)  # for want of a GPU: the twin of its product
    flags = ["--prompt", "a cat", "--save_latents", "--base_seed", "3"]
    made = set()
    for name in ("exact", "both", "one", "stream"):
        where = ["--fp8", "--residency", name] if name != "exact" else []
        code, data, _ = t2v(*flags, *where, "--save_file", str(tmp_path / f"{name}.mp4"))
        assert code == 0, data
        made.add((tmp_path / f"{name}.safetensors").read_bytes())
    assert len(made) == 2


def test_a_drawn_seed_is_recorded_and_repeats_the_video(t2v, tmp_path):
    _, first, _ = t2v("--prompt", "a cat", "--save_latents")
    before = load_file(tmp_path / "a.safetensors")["latents"]
    _, again, _ = t2v("--prompt", "a cat", "--save_latents", "--base_seed", str(first["videos"][0]["seed"]))
    assert again["videos"][0]["latents"] == str(tmp_path / "a-2.safetensors")
    assert torch.equal(load_file(tmp_path / "a-2.safetensors")["latents"], before)


def test_a_second_video_goes_beside_the_first_unless_told_to_replace_it(t2v, tmp_path):
    for flags, name in (([], "a"), ([], "a-2"), (["--overwrite"], "a")):
        code, data, err = t2v("--prompt", "a cat", "--sample_steps", "1", *flags)
        assert code == 0 and data["videos"][0]["video"] == str(tmp_path / f"{name}.mp4"), err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-2.json", "a-2.mp4", "a.json", "a.mp4"]


def test_a_length_that_is_not_4n_plus_1_is_cut_and_said_once(t2v, tmp_path):
    _, _, err = t2v("--prompt", "a cat", "--frame_num", "8", "--accel", "recommended", "--cfg_truncate_steps", "1")
    assert err.count("9 are made and cut to 8") == 1
    assert len(list(read_frames(tmp_path / "a.mp4"))) == 8


def test_many_prompts_load_nothing_twice(t2v, tmp_path, monkeypatch):
    loads, alive, encoders = [], weakref.WeakSet(), []
    load, load_t5 = wan22_run.Parts.load_expert, parts.load_t5

    def noted(self, expert, device):
        loads.append(expert)
        encoders.append(len(alive))
        return load(self, expert, device)

    def watched(*args, **kwargs):
        model = load_t5(*args, **kwargs)
        alive.add(model)
        return model

    monkeypatch.setattr(wan22_run.Parts, "load_expert", noted)
    monkeypatch.setattr(parts, "load_t5", watched)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n\na dog\na bird\n")
    code, data, err = t2v("--prompt_file", str(prompts), "--base_seed", "7", "--residency", "one")
    assert code == 0, err
    assert loads == ["high", "low"]
    assert encoders == [0, 0]  # the text encoder has gone before an expert comes
    assert [(v["prompt"], v["seed"]) for v in data["videos"]] == [("a cat", 7), ("a dog", 8), ("a bird", 9)]
    assert [p.name for p in sorted(tmp_path.glob("*.mp4"))] == ["a_000.mp4", "a_001.mp4", "a_002.mp4"]


@pytest.mark.parametrize(("flags", "plans"), [([], 1), (["--enable_half_frame_generation"], 2)])
def test_a_plan_is_made_once_a_video(t2v, monkeypatch, flags, plans):
    """And once more for the exact video that its arithmetic is compared with, where that is another."""
    made, unipc = [], SCHEDULES["unipc"]
    monkeypatch.setitem(SCHEDULES, "unipc", lambda *given: made.append(given) or unipc(*given))
    code, data, _ = t2v("--prompt", "a cat", *flags)
    assert code == 0 and len(made) == plans, data


def test_a_video_from_an_image_has_the_images_shape(t2v, tmp_path):
    Image.fromarray(np.full((50, 100, 3), 99, np.uint8)).save(tmp_path / "start.png")
    flags = ["--prompt", "a cat", "--image", str(tmp_path / "start.png"), "--enable_half_frame_generation"]
    code, data, err = t2v(*flags, command="i2v")
    assert code == 0, err
    assert data["videos"][0]["size"] == "96*48"  # the area of 96*64, twice as wide as high
    assert next(read_frames(tmp_path / "a.mp4")).shape == (48, 96, 3)


def test_many_prompts_about_one_image_encode_it_once(t2v, tmp_path, monkeypatch):
    encoded, encode = [], WanVAE.encode_image
    monkeypatch.setattr(WanVAE, "encode_image", lambda *given: encoded.append(1) or encode(*given))
    Image.fromarray(np.full((50, 100, 3), 99, np.uint8)).save(tmp_path / "start.png")
    (tmp_path / "prompts.txt").write_text("a cat\na dog\na bird\n")
    flags = ["--image", str(tmp_path / "start.png"), "--prompt_file", str(tmp_path / "prompts.txt"), "--base_seed", "7"]
    code, data, _ = t2v(*flags, "--save_latents", command="i2v")
    assert code == 0 and len(encoded) == 1, data
    t2v(
        "--image",
        str(tmp_path / "start.png"),
        "--prompt",
        "a bird",
        "--base_seed",
        "9",
        "--save_latents",
        command="i2v",
    )
    [bird, alone] = (load_file(tmp_path / name)["latents"] for name in ("a_002.safetensors", "a.safetensors"))
    assert torch.equal(bird, alone)


def test_a_long_prompt_is_cut_and_said(t2v):
    code, _, err = t2v("--prompt", "a cat " * TEXT_LEN)
    assert code == 0 and f"prompt cut to {TEXT_LEN} tokens" in err


def remove(folder: Path, name: str) -> None:
    shutil.rmtree(folder / name)


def swap(folder: Path, _: str) -> None:
    high, low = folder / "high_noise_model", folder / "low_noise_model"
    high.rename(folder / "x_high"), low.rename(folder / "x_low")
    high.symlink_to(folder / "x_low"), low.symlink_to(folder / "x_high")


def twice(folder: Path, _: str) -> None:
    remove(folder, "low_noise_model")
    shutil.copytree(folder / "high_noise_model", folder / "low_noise_model")


def dense(folder: Path, _: str) -> None:
    (folder / "high_noise_model" / "diffusion_pytorch_model.safetensors").rename(
        folder / "diffusion_pytorch_model.safetensors"
    )


def dense_diffusers(folder: Path, _: str) -> None:
    (folder / "high_noise_model").rename(folder / "transformer")


@pytest.mark.parametrize(
    ("damage", "name", "message"),
    [
        (remove, "low_noise_model", "lacks low_noise (low_noise_model or transformer_2)"),
        (remove, "text_encoder", "lacks text_encoder"),
        (remove, "google", "lacks tokenizer"),
        (swap, "", "the two are swapped"),
        (twice, "", "are the same expert twice"),
        (dense, "", "is one model; wan22 runs releases of two experts"),
        (dense_diffusers, "", "is one model; wan22 runs releases of two experts"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_one_line(t2v, folders, tmp_path, damage, name, message):
    folder = tmp_path / "copy"
    shutil.copytree(folders["t2v"], folder)
    damage(folder, name)
    code, data, err = t2v("--prompt", "a cat", folder=folder)
    assert code == 2 and message in data["error"] and "\n" not in data["error"]
    assert not list(tmp_path.glob("*.mp4"))


@pytest.mark.parametrize("damage", [dense, dense_diffusers])
def test_half_frames_on_one_model_are_refused_with_the_reason(t2v, folders, tmp_path, damage):
    folder = tmp_path / "copy"
    shutil.copytree(folders["t2v"], folder)
    damage(folder, "")
    code, data, _ = t2v("--prompt", "a cat", "--enable_half_frame_generation", folder=folder)
    assert code == 2 and "half frames need two experts" in data["error"] and str(folder) in data["error"]


def test_one_step_needs_one_expert(t2v, monkeypatch):
    loads = []
    load = wan22_run.Parts.load_expert
    monkeypatch.setattr(wan22_run.Parts, "load_expert", lambda *args: loads.append(args[1]) or load(*args))
    code, data, _ = t2v("--prompt", "a cat", "--sample_steps", "1")
    assert code == 0 and loads == ["high"], data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the prompt is empty"),
        (["--prompt", "  "], "the prompt is empty; say what the video shows (--prompt)"),
        (["--prompt", "a", "--prompt_file", "x.txt"], "give one"),
        (["--prompt_file", "missing.txt"], "no such file or folder: missing.txt"),
        (["--prompt", "a", "--task", "i2v-A14B"], "use wan22 i2v"),
        (["--prompt", "a", "--task", "ti2v-5B", "--enable_half_frame_generation"], "half frames need two experts"),
        (["--prompt", "a", "--save_file", "/proc/no/a.mp4"], "/proc/no"),
        (["--prompt", "a", "--save_file", "clip.json"], "save_file clip.json is not an .mp4 file: name it clip.mp4"),
        (["--prompt", "a", "--save_file", "/dev/null/a.mp4"], "/dev/null"),
        (["--prompt", "a", "--device", "cuda:9"], "device 'cuda:9' cannot be used here"),
        (
            ["--prompt", "a", "--fp8", "--device", "cpu"],
            "8-bit floats need a CUDA GPU, this run is on cpu; leave them out (--fp8)",
        ),
        (
            ["--prompt", "a", "--fp8", "--reference"],
            "8-bit floats are of the optimized model, not of a plain one; choose (--fp8, --reference)",
        ),
    ],
)
def test_a_mistake_is_one_line(t2v, arguments, message):
    code, data, err = t2v(*arguments)
    assert code == 2 and message in data["error"], data


def test_the_record_says_which_preset_was_taken(t2v, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs/wan22").mkdir(parents=True)
    for name in ("recommended", "mine"):
        Path(f"configs/wan22/{name}.yaml").write_text("sample_steps: 1\nbase_seed: 8\n")
    given = ["--prompt", "a cat", "--cfg_truncate_steps", "1"]
    _, ours, _ = t2v(*given, "--accel", "recommended")
    assert ours["videos"][0]["seed"] != 8
    _, mine, _ = t2v(*given, "--config_path", "configs/wan22/mine.yaml")
    assert mine["videos"][0]["seed"] == 8
    taken = [json.loads((tmp_path / name).read_text())["config_path"] for name in ("a.json", "a-2.json")]
    assert taken == [None, str(tmp_path / "configs/wan22/mine.yaml")]


def test_what_a_video_reads_is_never_what_it_writes(t2v, tmp_path):
    prompts = tmp_path / "a.json"
    prompts.write_text("a cat")
    given = ["--prompt_file", str(prompts), "--sample_steps", "1"]
    code, data, _ = t2v(*given, "--overwrite")
    assert code == 2 and "--prompt_file and the record of --save_file are both" in data["error"]
    assert t2v(*given)[0] == 0 and prompts.read_text() == "a cat"


def test_without_a_checkpoint_a_text_is_for_the_embedded_mini(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MG_MODELS", str(tmp_path))
    short = ["--prompt", "a red circle", "--frame_num", "9", "--sample_steps", "2", "--device", "cpu"]
    assert run(wan22_app.app, ["t2v", *short, "--save_file", str(tmp_path / "a.mp4")]) == 0
    assert capsys.readouterr().err.count("no --ckpt_dir and no downloaded t2v-A14B: the mini, a small model") == 1
    assert next(read_frames(tmp_path / "a.mp4")).shape == (sizes.HEIGHT, sizes.WIDTH, 3)
    request = wan22_request({"prompt": "a red circle", "sample_steps": 30}, "t2v-A14B").resolved()
    assert (request.frame_num, request.sample_steps, request.sample_shift) == (49, 30, 12.0)


@pytest.mark.parametrize("frame_num", [1, 9, 10])
def test_a_video_in_strips_is_the_same_video(folders, frame_num):
    """Frames come as they are whole, as many as were asked for; float32 rounds to the same 8 bits but for a step here and there."""
    flags = {"ckpt_dir": folders["t2v"], "size": "96*64", "any_size": True, "sample_steps": 2, "device": "cpu"}
    request = wan22_request({**flags, "prompt": "a cat", "frame_num": frame_num}, task="t2v-A14B")
    generation = wan22_run.open_generation(request, [planned(seeded(request))], None)
    for _ in generation.steps():
        pass
    whole, strips = (list(generation.frames(0, little)) for little in (False, True))
    assert generation.strips == [2]
    assert [len(chunk) for chunk in whole] == [len(chunk) for chunk in strips]
    whole, strips = (np.concatenate(chunks).astype(int) for chunks in (whole, strips))
    assert strips.shape == (frame_num, 64, 96, 3) and abs(whole - strips).max() <= 1


def test_without_a_checkpoint_released_sizes_and_images_say_how_to_get_one(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MG_MODELS", str(tmp_path))
    assert run(wan22_app.app, ["t2v", "--prompt", "a red circle", "--size", "832*480"]) == 2
    said = capsys.readouterr().err
    assert "Leave --size out" in said and "`wan22 download t2v-A14B` fetches the released model" in said
    Image.new("RGB", (64, 40)).save(tmp_path / "start.png")
    image = ["i2v", "--prompt", "a cat", "--image", str(tmp_path / "start.png")]
    for folder, why in (
        ([], "no checkpoint"),
        (["--ckpt_dir", "mini"], "the mini makes videos from text alone, no i2v-A14B"),
    ):
        assert run(wan22_app.app, [*image, *folder]) == 2
        assert f"{why}: `wan22 download i2v-A14B` fetches one, or name a folder" in capsys.readouterr().err
    assert run(wan22_app.app, [*image, "--ckpt_dir", "i2v-A14B"]) == 2
    assert "i2v-A14B is not whole in" in capsys.readouterr().err


UNKNOWN = {
    "two cats boxing on a stage": 'the prompt says "cats", "boxing", "stage"',
    "two cats boxing in a ring": 'the prompt says "cats", "boxing"',
    "a red ball rolls": 'the prompt says "ball", "rolls"',
    "one big brown dog runs after five white cats": 'says "brown", "dog", "runs", "after" and 2 more',
    "a small red": "the prompt 'a small red' names no shape",
    "\u4e24\u53ea\u732b": 'the prompt says "\u4e24\u53ea\u732b"',
}


@pytest.mark.parametrize("prompt", UNKNOWN)
@pytest.mark.parametrize("command", ["t2v", "compare"])
def test_what_the_mini_cannot_know_is_answered_before_anything_is_made(capsys, tmp_path, monkeypatch, command, prompt):
    monkeypatch.setenv("MG_MODELS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    released = ["--size", "832*480"] if command == "t2v" else []  # the prompt is what matters, and is said first
    assert run(wan22_app.app, [command, "--prompt", prompt, *released]) == 2
    said = capsys.readouterr().err
    assert UNKNOWN[prompt] in said and said.count("\n") == 1
    assert 'try "Two small red stars drift' in said.replace("Try", "try") and "`wan22 download t2v-A14B`" in said
    assert not list(tmp_path.iterdir())


def test_the_mini_takes_the_example_and_whatever_its_name_is_given_with(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MG_MODELS", str(tmp_path))
    require_understood([EXAMPLE])
    (tmp_path / "prompts.txt").write_text(f"{EXAMPLE}\na cat\n")
    short = ["--frame_num", "5", "--sample_steps", "1", "--device", "cpu", "--save_file", str(tmp_path / "a.mp4")]
    assert run(wan22_app.app, ["t2v", "--prompt_file", str(tmp_path / "prompts.txt"), *short]) == 2
    assert 'says "cat"' in capsys.readouterr().err
    assert run(wan22_app.app, ["t2v", "-p", "a cat", "--ckpt_dir", "mini", *short]) == 0
    said = capsys.readouterr()
    assert (
        f"next: open {tmp_path / 'a.mp4'}; wan22 t2v --config_path {tmp_path / 'a.json'} makes it again\n" in said.err
    )
    assert (tmp_path / "a.mp4").is_file()
    record = ["t2v", "--config_path", str(tmp_path / "a.json"), "--save_file", str(tmp_path / "b.mp4"), "--quiet"]
    assert run(wan22_app.app, record) == 0, "the record of what the mini made makes it again"
    assert capsys.readouterr().err == ""


def test_every_caption_is_understood():
    scenes = Scenes.sample(torch.arange(300))
    assert [
        line
        for line in captions(scenes) + captions(scenes, held_out=True)
        if unknown_words(line) or not names_a_shape(line)
    ] == []


def test_an_image_expert_is_not_a_text_expert(t2v, folders):
    code, data, _ = t2v("--prompt", "a cat", folder=folders["i2v"])
    assert code == 2 and "reads 36 channels where t2v-A14B has 16" in data["error"]


@pytest.mark.parametrize(
    ("where", "residency", "message"),
    [
        ("decode_chunks", "both", "in the VAE (decode), one latent frame at a time; decode by strips (--vae_tiling)"),
        ("forward", "both", "weights (residency both) and about"),
        ("forward", "one", "stream it block by block (--residency stream)"),
        ("encode", "one", "run it on the host (--t5_cpu)"),
    ],
)
def test_out_of_memory_says_what_used_it_and_what_would_fit(t2v, monkeypatch, where, residency, message):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    owner = {
        "decode_chunks": "wan.fast.vae.OptimizedVAEDecoder",
        "forward": "wan.modules.model.WanModel",
        "encode": "wan.text.TextEncoder",
    }[where]
    monkeypatch.setattr(f"{owner}.{where}", full)
    code, data, _ = t2v("--prompt", "a cat", "--residency", residency)
    assert code == 2 and message in data["error"], data


def test_a_video_that_cannot_be_written_leaves_its_latents(t2v, tmp_path, monkeypatch):
    from wan.video.writer import VideoWriter

    full = OSError(28, "No space left on device", str(tmp_path / "a.mp4"))
    monkeypatch.setattr(VideoWriter, "_append", lambda *_: (_ for _ in ()).throw(full))
    (tmp_path / "a.mp4").write_bytes(b"of yesterday")
    code, data, _ = t2v("--prompt", "a cat", "--overwrite")
    kept = tmp_path / "a.safetensors"
    assert code == 2 and data["error"].startswith(f"disk full while writing {tmp_path / 'a.mp4'}"), data
    assert data["error"].endswith(f"; the latents are kept: {kept}") and "\n" not in data["error"]
    assert load_file(kept)["latents"].shape == (1, 16, 3, 8, 12)
    assert (tmp_path / "a.mp4").read_bytes() == b"of yesterday"


def test_a_video_that_cannot_be_decoded_leaves_its_latents(t2v, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr("wan.fast.vae.OptimizedVAEDecoder.decode_chunks", full)
    code, data, _ = t2v("--prompt", "a cat")
    assert code == 2 and data["error"].endswith(f"; the latents are kept: {tmp_path / 'a.safetensors'}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors"]


def test_ctrl_c_while_decoding_leaves_a_video_that_plays(t2v, tmp_path, monkeypatch):
    from wan.fast.vae import OptimizedVAEDecoder

    decode = OptimizedVAEDecoder.decode_chunk

    def interrupted(self, latents, state):
        if state.started:
            raise KeyboardInterrupt
        return decode(self, latents, state)

    monkeypatch.setattr(OptimizedVAEDecoder, "decode_chunk", interrupted)
    code, data, _ = t2v("--prompt", "a cat")
    assert code == 130 and data["error"] == "interrupted"
    assert len(list(read_frames(tmp_path / "a.mp4"))) == 1
