"""Modes, actions and scripts: what every way of writing an action means, and where each mistake is said to be."""

import random

import pytest

from wan.game.actions import Action, ActionScript, action, keyboard_vector, script_of, text, walk
from wan.game.modes import GTA_DRIVE, MODES, TEMPLERUN, UNIVERSAL
from wan.game.scripts import load_script, parse_csv, parse_json, parse_text


@pytest.mark.parametrize(
    "mode, letters, row, mouse",
    [
        (UNIVERSAL, "w", [1, 0, 0, 0], (0, 0)),
        (UNIVERSAL, "S", [0, 1, 0, 0], (0, 0)),
        (UNIVERSAL, "A", [0, 0, 1, 0], (0, 0)),
        (UNIVERSAL, "D", [0, 0, 0, 1], (0, 0)),
        (UNIVERSAL, "LWA", [1, 0, 1, 0], (0, 0.1)),
        (UNIVERSAL, "I", [0, 0, 0, 0], (0.1, 0)),
        (UNIVERSAL, "K", [0, 0, 0, 0], (-0.1, 0)),
        (UNIVERSAL, "J", [0, 0, 0, 0], (0, -0.1)),
        (UNIVERSAL, "KL", [0, 0, 0, 0], (-0.1, 0.1)),
        (UNIVERSAL, "QU", [0, 0, 0, 0], (0, 0)),
        (GTA_DRIVE, "WA", [1, 0], (0, -0.1)),
        (GTA_DRIVE, "SD", [0, 1], (0, 0.1)),
        (GTA_DRIVE, "Q", [0, 0], (0, 0)),
        (TEMPLERUN, "Q", [1, 0, 0, 0, 0, 0, 0], (0, 0)),
        (TEMPLERUN, "", [1, 0, 0, 0, 0, 0, 0], (0, 0)),
        (TEMPLERUN, "W", [0, 1, 0, 0, 0, 0, 0], (0, 0)),
        (TEMPLERUN, "S", [0, 0, 1, 0, 0, 0, 0], (0, 0)),
        (TEMPLERUN, "Z", [0, 0, 0, 1, 0, 0, 0], (0, 0)),
        (TEMPLERUN, "C", [0, 0, 0, 0, 1, 0, 0], (0, 0)),
        (TEMPLERUN, "A", [0, 0, 0, 0, 0, 1, 0], (0, 0)),
        (TEMPLERUN, "D", [0, 0, 0, 0, 0, 0, 1], (0, 0)),
    ],
)
def test_keys_mean_what_the_models_were_trained_on(mode, letters, row, mouse):
    act = action(mode, letters)
    assert keyboard_vector(mode, act) == row
    assert act.mouse == mouse


def test_a_script_is_frames_of_actions():
    script = parse_text("W*24 WA*12\n  L*2 # turn\nQ W(0.02,-0.05)*3", UNIVERSAL)
    assert len(script) == 24 + 12 + 2 + 1 + 3
    assert script[0] == script[23] == Action("W")
    assert script[24] == Action("WA")
    assert script[37] == Action("", (0.0, 0.1))
    assert script[38] == Action()
    assert script.window(range(38, 41)) == [Action(), Action("W", (0.02, -0.05)), Action("W", (0.02, -0.05))]


def test_past_its_end_a_script_holds_the_last_action():
    assert parse_text("W*2 L*3", UNIVERSAL)[1000] == Action("", (0.0, 0.1))


def test_long_scripts_cost_nothing():
    assert len(parse_text("W*1000000000000", UNIVERSAL)) == 10**12


@pytest.mark.parametrize("mode", MODES.values(), ids=lambda m: m.name)
def test_what_is_written_is_read_back(mode):
    rng = random.Random(3)
    acts = [action(mode, rng.choice(mode.walk)) for _ in range(50)]
    if mode.has_mouse:
        acts += [Action("W", (0.037, -0.1)), Action("", (1 / 3, 2 / 3)), Action("S", (-0.1, 1e-9))]
    script = script_of(mode, acts)
    again = parse_text(str(script), mode)
    assert again == script
    assert [again[i] for i in range(len(acts))] == acts
    assert all(action(mode, text(mode, a)) == a for a in acts if "(" not in text(mode, a))


def test_json_and_csv_say_the_same_as_text():
    want = parse_text("W*1 WL*12 W(0.0,-0.05)*3", UNIVERSAL)
    entries = '["W", "WL*12", {"keys": "W", "mouse": [0, -0.05], "frames": 3}]'
    assert parse_json(entries, UNIVERSAL) == want
    assert parse_json('{"mode": "universal", "seed": 1, "actions": ' + entries + "}", UNIVERSAL) == want
    assert parse_json('{"actions": "W WL*12 W(0,-0.05)*3"}', UNIVERSAL) == want
    assert parse_csv("keys,pitch,yaw,frames\nW,,,1\nWL,0,0,12\n\nW,0,-0.05,3\n", UNIVERSAL) == want
    assert parse_csv("keys\nW\nW\nWL\n", UNIVERSAL)[2] == action(UNIVERSAL, "WL")


@pytest.mark.parametrize(
    "content, played",
    [
        ('{"request":{"actions":["W*12"]},"actions":["S*12"]}', "S*12"),
        ('{"request": {"actions": "W*12"}, "note": "\\"actions\\": [", "actions": [\n"S*12"]}', "S*12"),
        ('{"actions": [{"keys": "S"}], "after": {"actions": ["W*12"]}}', "S*1"),
        ('{"actions": ["W*12"], "actions": ["S*12"]}', "S*12"),  # as json.loads has it
        ('\n [ "S*12" , "W" ]\n', "S*12 W*1"),
    ],
)
def test_the_actions_of_a_json_are_its_own(content, played):
    assert str(parse_json(content, UNIVERSAL)) == played


@pytest.mark.parametrize(
    "content, where, what",
    [
        ("W*24 WX*12", "line 1, column 6", "'X' is not a key of mode universal: its keys are W S A D I K J L"),
        ("W*24\n  L*0", "line 2, column 3", "0 frames"),
        ("W*24\nL*1.5", "line 2, column 1", "cannot read 'L*1.5'"),
        ("W24", "line 1, column 1", "cannot read"),
        ("*24", "line 1, column 1", "cannot read"),
        ("WS*3", "line 1, column 1", "exclude each other"),
        ("JL*3", "line 1, column 1", "exclude each other"),
        ("L(0,0.1)*3", "line 1, column 1", "keep one of them"),
        ("W*" + "9" * 5000, "line 1, column 1", "2**66 or more frames"),
        ("W(0,1e308)*3", "line 1, column 1", "not within 10"),
        ("W(0,1e999)*3", "line 1, column 1", "not within 10"),
    ],
)
def test_mistakes_in_text_name_line_and_column(content, where, what):
    with pytest.raises(ValueError) as caught:
        parse_text(content, UNIVERSAL)
    assert where in str(caught.value) and what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content, where",
    [
        ('["W",\n "X"]', "line 2, column 2"),
        ('{"actions": ["W",\n  {"keys": "W", "frames": 0}]}', "line 2, column 3"),
        ('[{"key": "W"}]', "unknown key 'key'; did you mean 'keys'?"),
        ('[{"keys": 5}]', "line 1, column 2"),
        ('["W", 7]', "line 1, column 7"),
        ('[{"keys": "W", "mouse": [0.1]}]', "mouse: expected [float, float] or nothing"),
        ('["W"', "line 1, column 5: not JSON"),
        ('{"request": {"actions": ["X"]},\n"actions": ["W", \n\n  "S", "X"]}', "line 4, column 8: 'X' is not a key"),
        ('{"request": {"actions": ["X"]}}', "give a list of actions"),
        ('{"mode": ["universal"], "actions": ["W"]}', "is a script for mode ['universal']: its mode is one of"),
        ('[{"mouse": [true, 0]}]', "mouse: expected [float, float] or nothing"),
        ("[" * 10**5, "nested too deeply"),
        ('[{"mouse": [1e308, 0]}]', "not within 10"),
        ('[{"mouse": [NaN, 0]}]', "not within 10"),
        ('[{"frames": %s}]' % ("9" * 5000), "has a number that is too long"),
        ('[{"frames": 1e400}]', "frames: expected int, got inf"),
        ('[{"frames": true}]', "frames: expected int, got True"),
        ('[{"keys": ["W"]}]', "keys: expected str, got ['W']"),
        ("[[1]]", "[1] is not an action"),
        ("7", "give a list of actions"),
        ('{"mode": "templerun", "actions": ["W"]}', "is a script for mode templerun: this model plays universal"),
        ("[]", "no action in it"),
    ],
)
def test_mistakes_in_json(content, where):
    with pytest.raises(ValueError) as caught:
        parse_json(content, UNIVERSAL)
    assert where in str(caught.value)


@pytest.mark.parametrize(
    "content, where",
    [
        ("keys,yaw\nW,0\nW,left", "line 3, column yaw: 'left' is not a number"),
        ("keys,yaw\nW", "line 2, column keys: 1 values where the header has 2"),
        ("keys,roll\nW,0", "line 1, column 1: the header"),
        ("keys\nW\nM", "line 3, column keys: 'M' is not a key"),
        ("keys,yaw\nW,1e308", "line 2, column keys: a camera turn of (0.0, 1e+308)"),
        ("keys,frames\nW," + "9" * 5000, "line 2, column keys: 2**66 or more frames"),
        ("keys,frames\nW,2.5", "line 2, column keys: 2.5 frames"),
        ("", "line 1"),
    ],
)
def test_mistakes_in_csv(content, where):
    with pytest.raises(ValueError) as caught:
        parse_csv(content, UNIVERSAL)
    assert where in str(caught.value)


def test_a_script_for_another_mode_is_refused():
    with pytest.raises(ValueError, match="'L' is not a key of mode gta_drive"):
        parse_text("W*12 L*12", GTA_DRIVE)
    with pytest.raises(ValueError, match="no mouse"):
        parse_text("(0,0.1)*12", TEMPLERUN)


def test_files_are_read_by_their_ending(tmp_path):
    for name, content in {"a.txt": "W*2", "a.json": '["W", "W"]', "a.csv": "keys\nW\nW"}.items():
        (tmp_path / name).write_text(content)
        script = load_script(str(tmp_path / name), UNIVERSAL)
        assert isinstance(script, ActionScript) and script.window(range(2)) == [Action("W")] * 2
    assert load_script("W*2", UNIVERSAL).segments == ((Action("W"), 2),)
    with pytest.raises(ValueError, match="no action file"):
        load_script(str(tmp_path / "missing.txt"), UNIVERSAL)
    (tmp_path / "a.txt").write_bytes(b"W*2 \xff")
    with pytest.raises(ValueError, match="a.txt is not text in UTF-8"):
        load_script(str(tmp_path / "a.txt"), UNIVERSAL)


@pytest.mark.parametrize("mode", MODES.values(), ids=lambda m: m.name)
def test_a_walk_is_one_frame_then_twelves_and_repeats_with_its_seed(mode):
    first = [a for a, _ in zip(walk(mode, 5), range(1 + 12 * 20))]
    again = [a for a, _ in zip(walk(mode, 5), range(1 + 12 * 20))]
    other = [a for a, _ in zip(walk(mode, 6), range(1 + 12 * 20))]
    assert first == again != other
    for start in range(1, len(first), 12):
        assert len(set(first[start : start + 12])) == 1


@pytest.mark.parametrize(
    "mode, walked",
    [
        (UNIVERSAL, "W*1 J*12 D*12 A*12 AJ*12 W*12 J*12"),
        (GTA_DRIVE, "W*25 S*12 WD*12 WA*12 W*12"),
        (TEMPLERUN, "Q*1 W*12 Z*12 D*24 Z*24"),
    ],
)
def test_a_walk_equals_the_official_one(mode, walked):
    """What the official condition functions return for 73 frames after random.seed(0)."""
    assert str(script_of(mode, (a for a, _ in zip(walk(mode, 0), range(73))))) == walked
