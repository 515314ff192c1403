"""What a page may say, and thousands of things it may not."""

import json
import random

import pytest

from mgcli.game.play.messages import FIELDS, parse

GOOD = [
    {"type": "keys", "keys": "WL", "at": 51234.5},
    {"type": "keys", "keys": "", "at": 0},
    {"type": "look", "right": -3, "down": 0.5},
    {"type": "got", "frames": 7},
    {"type": "quality", "best": 0},
    {"type": "lead"},
    {"type": "pause", "on": True},
    {"type": "record", "on": False},
    {"type": "restart", "seed": None},
    {"type": "restart", "seed": 2**53 - 1},
    {"type": "image", "number": 3},
]
BAD = [
    "", "null", "[]", "{}", "1", "W", '"lead"', "[" * 500, '{"a":' * 80, "9" * 400, "\x00", "😀" * 100,
    '{"type": "keys"}', '{"type": "keys", "keys": "W"}', '{"type": "keys", "keys": 5, "at": 1}',
    '{"type": "keys", "keys": "../../etc", "at": 1}', '{"type": "keys", "keys": "' + "W" * 17 + '", "at": 1}',
    '{"type": "keys", "keys": "W", "at": NaN}', '{"type": "keys", "keys": "W", "at": Infinity}',
    '{"type": "keys", "keys": "W", "at": -1}', '{"type": "keys", "keys": "W", "at": true}',
    '{"type": "look", "right": 1e999, "down": 0}', '{"type": "look", "right": ' + "9" * 300 + ', "down": 0}',
    '{"type": "look", "right": "1", "down": 0}', '{"type": "got", "frames": 1.5}', '{"type": "got", "frames": -1}',
    '{"type": "pause", "on": 1}', '{"type": "pause", "on": null}', '{"type": "restart", "seed": -1}',
    '{"type": "quality", "best": 6}', '{"type": "quality"}', '{"type": "image", "number": "garden.png"}', '{"type": "image", "number": -1}', '{"type": "image", "number": 1.5}',
    '{"type": "restart", "seed": 9007199254740992}', '{"type": "restart"}', '{"type": "lead", "image": "/etc/passwd"}',
    '{"type": ["lead"]}', '{"type": {"lead": 1}}', '{"type": "open", "path": "/etc/passwd"}', '{"type": null}',
]  # fmt: skip


@pytest.mark.parametrize("message", GOOD, ids=str)
def test_messages(message: dict):
    assert parse(json.dumps(message)) == message


@pytest.mark.parametrize("text", BAD, ids=lambda t: t[:40])
def test_what_is_none(text: str):
    with pytest.raises(ValueError):
        parse(text)


def mangled(rng: random.Random) -> str:
    """A good message with something wrong somewhere, or noise."""
    text = json.dumps(rng.choice(GOOD))
    at, kind = rng.randrange(len(text)), rng.randrange(6)
    noise = "".join(chr(rng.randrange(1, 0x2FF)) for _ in range(rng.randrange(1, 60)))
    return (
        text[:at],
        text[:at] + noise + text[at:],
        noise,
        text.replace(rng.choice('{}":,'), rng.choice("[]{}0")),
        text + text,
        json.dumps({"type": rng.choice([*FIELDS, noise]), rng.choice(["keys", "on", "seed", noise]): noise}),
    )[kind]


def test_nothing_but_value_errors_and_messages():
    rng = random.Random(7)
    refused = 0
    for _ in range(5000):
        try:
            message = parse(mangled(rng))
        except ValueError:
            refused += 1
        else:
            assert set(message) == {"type", *FIELDS[message["type"]]}
    assert refused > 4500
