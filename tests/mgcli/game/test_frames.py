"""`mg frames`: the map as a table and as JSON."""

import json

import pytest

from mgcli.app.errors import run
from mgcli.mg import app


def test_the_map_as_json(capsys):
    assert run(app, ["frames", "--num_output_frames", "150", "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert (got["latent_frames"], got["blocks"], got["frames"]) == (150, 50, 597)
    assert got["per_block"][0] == {"block": 0, "latent": [0, 2], "frames": [0, 8]}
    assert got["per_block"][5] == {"block": 5, "latent": [15, 17], "frames": [57, 68]}
    assert got["per_block"][49] == {"block": 49, "latent": [147, 149], "frames": [585, 596]}


def test_the_map_for_people(capsys):
    assert run(app, ["frames", "--num_output_frames", "6"]) == 0
    shown = capsys.readouterr().out
    assert "6 latent frames, 2 blocks, 21 video frames" in shown and "9-20" in shown


@pytest.mark.parametrize(
    "count, words", [("151", "150 or 153"), ("0", "num_output_frames"), ("-3", "num_output_frames")]
)
def test_counts_that_are_not_whole_blocks(capsys, count, words):
    assert run(app, ["frames", "--num_output_frames", count]) == 2
    assert words in capsys.readouterr().err
