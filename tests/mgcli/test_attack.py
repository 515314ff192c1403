"""Every field of every request is given what does not belong there, through a preset, a recording and a flag: the answer is a
plan or one line, never the name of a Python error, at once and without much memory. A new field is attacked by being there."""

import dataclasses
import time
import tracemalloc
from functools import partial

import pytest

import wan.files.checkpoint  # noqa: F401  torch is not what takes long here
from mgcli import mg, wan22_app
from mgcli.app.errors import describe, run
from mgcli.game.batch import plan_worlds
from mgcli.game.play.request import PlayRequest
from mgcli.game.request import GameRequest, GenerateRequest, StreamRequest, game_request
from mgcli.video.request import Wan22Request, planned_videos, wan22_request
from wan.game.modes import MODES
from wan.game.scripts import load_script

DIGITS = "9" * 5000
YAML = [
    "0", "-1", ".nan", ".inf", "-.inf", "1.0e+308", "1" + "0" * 30, "1000000000", DIGITS, "0x" + "f" * 5000, "1:99:99",
    "x", "''", '"\\0"', '"\\e[31m"', "[]", "[x]", "[[]]", "{}", "{x: [x]}", "~", "true", "2020-13-45", "0.5", "[.nan, .nan]",
]  # fmt: skip
JSON = [
    "0", "-1", "NaN", "Infinity", "1e308", "1e999", "1" + "0" * 30, DIGITS, '"x"', '""', '"\\u0000"', '"\\udcff"', "[]",
    "[[]]", "[NaN]", "{}", "null", "true", "0.5", "[" * 3000 + "]" * 3000,
]  # fmt: skip
MOST_SECONDS, MOST_BYTES = 2.0, 50 * 2**20
ASKED = {
    GenerateRequest: lambda flags: plan_worlds(game_request(GenerateRequest, flags)),
    StreamRequest: partial(game_request, StreamRequest),
    PlayRequest: partial(game_request, PlayRequest),
    Wan22Request: lambda flags: planned_videos(wan22_request(flags, only_planned=True), None),
}
SHARED = {field.name for field in dataclasses.fields(GameRequest)}  # and attacked once
FIELDS = [
    (cls, field.name) for cls in ASKED for field in dataclasses.fields(cls)
    if cls in (GenerateRequest, Wan22Request) or field.name not in SHARED
]  # fmt: skip


def faults(work, given: str) -> list[str]:
    """What is wrong with the answer: no sentence, too long, or it takes too much."""
    tracemalloc.start()
    began, (said, code) = time.process_time(), ("", 2)
    try:
        work()
    except Exception as error:
        said, code = describe(error)
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sentence = code == 2 and len(said) < 1500 and "\n" not in said and "Exceeds the limit" not in said
    return [
        *([] if sentence else [f"{given[:50]}: {said[:500]}"]),
        *(
            []
            if seconds < MOST_SECONDS and peak < MOST_BYTES
            else [f"{given[:50]}: {seconds:.1f} s, {peak / 2**20:.0f} MB"]
        ),
    ]


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MG_MODELS", str(tmp_path / "none"))


@pytest.mark.parametrize(("cls", "name"), FIELDS, ids=[f"{cls.__name__}-{name}" for cls, name in FIELDS])
def test_a_field_of_a_preset(tmp_path, cls, name):
    found = []
    for kind, values, written in (("yaml", YAML, "{}: {}"), ("json", JSON, '{{"request": {{"{}": {}}}}}')):
        path = tmp_path / f"a.{kind}"
        for value in values:
            path.write_text(written.format(name, value))
            found += faults(partial(ASKED[cls], {"config_path": str(path)}), f"{kind} {value}")
    assert not found, "\n".join(found)


FLAGS = [
    (command, flag)
    for command, flags in {
        "generate": "height width seed action_seed batch num_output_frames local_attn_size fps mode device dtype attention",
        "frames": "num_output_frames num_frame_per_block",
        "stream": "max_num_output_frames height seed fps",
        "plan": "size frame_num sample_steps sample_shift sample_guide_scale base_seed cfg_truncate_steps task sample_solver",
    }.items()
    for flag in flags.split()
]
GIVEN = [
    "0", "-1", "nan", "inf", "1e308", "1e999", "1" + "0" * 30, DIGITS[:4000], DIGITS, "x", "", "x" * 100_000, "\x1b[31m", "\udcff",
]  # fmt: skip


@pytest.mark.parametrize(("command", "flag"), FLAGS)
def test_a_flag(monkeypatch, capsys, command, flag):
    """Up to where something would be loaded."""
    nothing = {
        "frames": 0,
        "seconds": 0,
        "frames_per_second": 0,
        "outputs": [{"video": "a.mp4", "icon": "b.mp4"}],
        "peak_memory_gib": 0,
        "takes": [],
    }
    monkeypatch.setattr("mgcli.game.generation.generate_worlds", lambda *_: nothing)
    monkeypatch.setattr("mgcli.commands.stream.played", lambda *_: nothing)
    program = wan22_app.app if command == "plan" else mg.app
    for value in GIVEN:
        began = time.process_time()
        code = run(program, [command, f"--{flag}={value}", *(["--script", "random"] if command == "stream" else [])])
        seconds, said = time.process_time() - began, capsys.readouterr().err
        assert (code == 0 and "error" not in said) or (code == 2 and said.startswith("error: ")), (
            f"{value[:50]}: {said}"
        )
        assert said.count("error: ") == code // 2 and len(said) < 2000 and "\x1b" not in said, f"{value[:50]}: {said}"
        assert seconds < MOST_SECONDS, f"{value[:50]}: {seconds:.1f} s"


WHOLE = {
    "alias bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi")),
    "alias": "size: &a 832*480\nprompt: *a",
    "merge": "a: &a {height: 32}\n<<: *a",
    "tag": "height: !!python/object/apply:os.system [ls]",
    "number by a tag": "height: !!int x",
    "truth by a tag": "fp8: !!bool x",
    "depth": "[" * 3000,
    "depth of maps": "".join(f"{' ' * i}a:\n" for i in range(400)),
    "a list": "- 1",
    "a number": "3",
    "nothing": "",
    "a key that is a list": "? [a]\n: b",
    "a key that is a number": "3: 3",
    "a key of many digits": f"{DIGITS}: 3",
    "a key of no text": '"\\e[31m": 3',
    "a long key": "x" * 10_000 + ": 3",
    "two documents": "height: 32\n---\nwidth: 32",
    "no YAML": "a: b: c",
    "a control character": "a: \x07",
    "more than a preset is": "#" * 2**18,
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("cls", [GenerateRequest, Wan22Request])
def test_a_whole_preset(tmp_path, cls, kind):
    path = tmp_path / "a.yaml"
    path.write_text(WHOLE[kind])
    found = faults(partial(ASKED[cls], {"config_path": str(path)}), kind)
    assert not found, "\n".join(found)
    with pytest.raises(ValueError, match="a.yaml"):  # which file it is
        ASKED[cls]({"config_path": str(path)})


RECORDED = ["request", "seed", "image", "mode", "actions"]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording(tmp_path, name):
    """Each part of it, and each without."""
    path, found = tmp_path / "a.json", []
    whole = {"request": '{"seed": 3}', "seed": "3", "image": '"a.png"', "mode": '"universal"', "actions": '["W*9"]'}
    for value in [*JSON, None]:
        parts = whole | {name: value}
        path.write_text("{" + ", ".join(f'"{key}": {part}' for key, part in parts.items() if part is not None) + "}")
        found += faults(partial(replayed, str(path)), str(value))
    assert not found, "\n".join(found)


def replayed(script: str) -> None:
    request = game_request(StreamRequest, {"script": script})
    load_script(script, MODES[request.mode])


@pytest.mark.parametrize("command", [["t2v", "--prompt_file"], ["plan", "--config_path"]])
def test_what_never_ends_is_not_read_to_its_end(capsys, command):
    assert run(wan22_app.app, [*command, "/dev/zero"]) == 2
    assert "/dev/zero does not end within" in capsys.readouterr().err
