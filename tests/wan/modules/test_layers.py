"""Tokens and the latents they stand for."""

from itertools import product

import pytest
import torch

from wan.modules.layers import unpatchify


@pytest.mark.parametrize(("grid", "patch"), [((2, 3, 4), (1, 2, 2)), ((2, 1, 3), (3, 2, 4)), ((1, 1, 1), (1, 1, 1))])
def test_each_number_of_a_token_has_its_place(grid, patch):
    channels, size = 5, [n * p for n, p in zip(grid, patch)]
    tokens = torch.randn(2, grid[0] * grid[1] * grid[2], patch[0] * patch[1] * patch[2] * channels)
    got = unpatchify(tokens, grid, patch)
    assert got.shape == (2, channels, *size)
    for frame, row, column in product(*map(range, size)):
        (f, p), (h, q), (w, r) = (divmod(at, n) for at, n in zip((frame, row, column), patch))
        token, first = (f * grid[1] + h) * grid[2] + w, ((p * patch[1] + q) * patch[2] + r) * channels
        assert torch.equal(got[:, :, frame, row, column], tokens[:, token, first : first + channels])
