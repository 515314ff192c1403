"""Values outside any sense are refused before anything is loaded: one line with the rule and what would do, exit code 2."""

import pytest

from mgcli import wan22_app
from mgcli.app.errors import run
from mgcli.video import run as wan22_run
from tests.tiny_checkpoints import write_wan22

SHORT = "--any_size --size 64*48 --frame_num 9 --sample_steps 20"
NONSENSE = {
    "--sample_shift 0": "sample_shift 0.0 must be from 0.01 to 100.0; nearest is 0.01",
    "--sample_shift -5": "sample_shift -5.0 must be from 0.01 to 100.0; nearest is 0.01",
    "--sample_shift nan": "sample_shift nan must be from 0.01 to 100.0; nearest is 12.0",
    "--sample_shift inf": "sample_shift inf must be from 0.01 to 100.0; nearest is 100.0",
    "--sample_shift=-inf": "nearest is 0.01",
    "--sample_shift 1e-9": "nearest is 0.01",
    "--sample_shift 1e-320 --sample_solver dpm++": "nearest is 0.01",
    "--sample_shift 1e30 --sample_steps 1": "nearest is 100.0",
    "--sample_shift 80 --sample_steps 10": "shift 80 leaves none of 10 steps to the low-noise expert; nearest is 63 (--sample_shift)",
    "--sample_shift 30 --sample_steps 4 --sample_solver dpm++": "none of 4 steps to the low-noise expert; nearest is 20 (--sample_shift)",
    "--sample_guide_scale nan": "sample_guide_scale nan must be from 0.0 to 100.0; nearest is 3.0",
    "--sample_guide_scale 3,nan": "sample_guide_scale nan must be from 0.0 to 100.0; nearest is 4.0",
    "--sample_guide_scale inf": "sample_guide_scale inf must be from 0.0 to 100.0; nearest is 100.0",
    "--sample_guide_scale=-1": "nearest is 0.0",
    "--sample_guide_scale 3,4,5": "is not a number or LOW,HIGH",
    "--frame_num 0": "frame_num 0 must be from 1 to 4093; nearest is 1",
    "--frame_num -81": "nearest is 1",
    "--frame_num 4094": "nearest is 4093",
    "--frame_num 1000000000": "nearest is 4093",
    "--frame_num 99999999999999999999999999": "nearest is 4093",
    "--sample_steps 0": "sample_steps 0 must be from 1 to 1000; nearest is 1",
    "--sample_steps 1001": "nearest is 1000",
    "--sample_steps 10000000000000": "nearest is 1000",
    "--size 0*480": "both sides must be multiples of 16 from 16 to 16384; nearest is 16*480",
    "--size 16400*480": "nearest is 16384*480",
    "--size 1000000007*1000000009": "nearest is 16384*16384",
    f"--size {10**400}*16": "nearest is 16384*16",
    "--size 16384*16384 --frame_num 81": "is 22,020,096 tokens a forward, more than the 1,048,576 that any GPU has room for; at this size frame_num is at most 1 (--frame_num, --size)",
    "--size 3840*2160 --frame_num 401": "at this size frame_num is at most 125",
    "--size -64*48": "is not WIDTH*HEIGHT",
    "--size nan*48": "is not WIDTH*HEIGHT",
    "--base_seed 9223372036854775808": "nearest is 9223372036854775807",
    "--base_seed 99999999999999999999999": "nearest is 9223372036854775807",
    "--cfg_truncate_steps 99999999999999999999999": "between 0 and the run's 20 steps",
    "--cfg_truncate_high_noise_steps -1": "between 0 and the run's 20 steps",
    "--device meta": "device 'meta' cannot be used here",
    "--save_file out.json": "out.json is not an .mp4 file",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_wan22(tmp_path_factory.mktemp("wan22") / "t2v")


@pytest.mark.parametrize(("flags", "message"), NONSENSE.items(), ids=[key[:50] for key in NONSENSE])
def test_nonsense_is_one_line_before_anything_is_loaded(folder, capsys, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wan22_run, "Generation", None)  # nothing gets as far
    given = ["t2v", "--ckpt_dir", str(folder), "--device", "cpu", "--prompt", "a", *SHORT.split(), *flags.split()]
    assert run(wan22_app.app, given) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1 and shown.out == "", shown.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


PLANNED = [flags for flags in NONSENSE if not flags.startswith(("--device", "--save_file"))]


@pytest.mark.parametrize("flags", PLANNED, ids=[key[:50] for key in PLANNED])
@pytest.mark.parametrize("command", ["plan", "compare"])
def test_nor_is_it_planned_or_compared(folder, capsys, tmp_path, command, flags):
    given = [*SHORT.split(), *flags.split()]
    if command == "compare":
        given += ["--ckpt_dir", str(folder), "--device", "cpu", "--prompt", "a", "--output_dir", str(tmp_path / "out")]
    assert run(wan22_app.app, [command, *given]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1 and NONSENSE[flags] in shown.err, shown.err


BAD_FILES = {
    ("a.txt", b"a cat\n\xff\xfe", "--prompt_file"): "a.txt is not text in UTF-8 (byte 6 is none of it)",
    ("a.yaml", b"\xff\xfe", "--config_path"): "a.yaml is not text in UTF-8",
    ("a.json", b"\xff\xfe", "--config_path"): "a.json is not text in UTF-8",
    ("a.json", b"{", "--config_path"): "a.json is not valid JSON",
    ("a.json", b'{"request": {"sample_shift": NaN, "prompt": "a"}}', "--config_path"): "sample_shift nan must be from",
    ("a.yaml", b"3: 3", "--config_path"): "unknown key 3; known:",
    ("a.yaml", b"sample_guide_scale: [3, .nan]", "--config_path"): "sample_guide_scale nan must be from",
    ("a.yaml", b"frame_num: 1000000000000", "--config_path"): "nearest is 4093",
}


@pytest.mark.parametrize(("file", "message"), BAD_FILES.items(), ids=[f"{k[0]}-{k[1][:20]}" for k in BAD_FILES])
def test_nor_is_it_read_from_a_file(folder, capsys, tmp_path, file, message):
    name, content, flag = file
    (tmp_path / name).write_bytes(content)
    prompt = [] if flag == "--prompt_file" else ["--prompt", "a"]
    given = ["t2v", "--ckpt_dir", str(folder), "--device", "cpu", "--any_size", "--size", "64*48", *prompt]
    assert run(wan22_app.app, [*given, flag, str(tmp_path / name), "--save_file", str(tmp_path / "a.mp4")]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1, shown


@pytest.mark.parametrize("flag", ["--prompt", "--n_prompt"])
def test_a_prompt_that_is_no_text_is_refused(folder, capsys, flag):
    """What an argument becomes that is not UTF-8."""
    given = ["t2v", "--ckpt_dir", str(folder), "--device", "cpu", *SHORT.split(), "--prompt", "a", flag, "a \udcff"]
    assert run(wan22_app.app, given) == 2
    assert capsys.readouterr().err.startswith(f"error: the {flag[2:]} is not text in UTF-8")


def test_a_size_that_an_image_would_stretch_too_far_is_refused(tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (30000, 16)).save(tmp_path / "strip.png")
    given = ["i2v", "--prompt", "a", "--image", str(tmp_path / "strip.png"), "--ckpt_dir", str(tmp_path)]
    assert run(wan22_app.app, given) == 2
    assert "an image of 30000x16 is too narrow" in capsys.readouterr().err


@pytest.mark.parametrize("flags", ["--sample_steps 1", "--sample_steps 2", "--sample_shift 0.01", "--sample_shift 100"])
def test_the_nearest_that_fits_runs(folder, capsys, tmp_path, flags):
    given = [
        "t2v",
        "--ckpt_dir",
        str(folder),
        "--device",
        "cpu",
        "--prompt",
        "a",
        "--save_file",
        str(tmp_path / "a.mp4"),
    ]
    assert run(wan22_app.app, [*given, *SHORT.split(), *flags.split()]) == 0, capsys.readouterr().err
