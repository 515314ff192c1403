"""Reads a QR code from its modules, as strictly as no camera would: every function pattern and every word must be right."""

from __future__ import annotations

Rows = list[list[bool]]
FORMAT_M_0 = "101010000010010"
# of level M: how many blocks, words of correction in each, all words
SHAPES = {
    1: (1, 10, 26), 2: (1, 16, 44), 3: (1, 26, 70), 4: (2, 18, 100), 5: (2, 24, 134),
    6: (4, 16, 172), 7: (4, 18, 196), 8: (4, 22, 242), 9: (5, 22, 292), 10: (5, 26, 346),
}  # fmt: skip
VERSION_BITS = {7: 0x07C94, 8: 0x085BC, 9: 0x09A99, 10: 0x0A4D3}
FINDER = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"]


def read_qr(rows: Rows) -> str:
    size = len(rows)
    version = (size - 17) // 4
    assert size == 17 + 4 * version and all(len(row) == size for row in rows)
    used = _check_patterns(rows, size, version)
    return _text(_data(_words(rows, size, used), version), version)


def _check_patterns(rows: Rows, size: int, version: int) -> set[tuple[int, int]]:
    """All modules that are no data; those with a fixed value are compared."""
    want: dict[tuple[int, int], bool] = {(i, 6): i % 2 == 0 for i in range(size)} | {
        (6, i): i % 2 == 0 for i in range(size)
    }
    for top, left in ((0, 0), (0, size - 7), (size - 7, 0)):
        around = {(top + y, left + x): False for y in range(-1, 8) for x in range(-1, 8)}
        inside = {(top + y, left + x): FINDER[y][x] == "1" for y in range(7) for x in range(7)}
        want |= {at: dark for at, dark in (around | inside).items() if min(at) >= 0 and max(at) < size}
    for row, column in _alignments(size, version):
        want |= {(row + y, column + x): max(abs(y), abs(x)) != 1 for y in range(-2, 3) for x in range(-2, 3)}
    near = [*((8, i) for i in (0, 1, 2, 3, 4, 5, 7, 8)), *((i, 8) for i in (7, 5, 4, 3, 2, 1, 0))]
    far = [*((size - 1 - i, 8) for i in range(7)), *((8, size - 8 + i) for i in range(8))]
    want |= {at: bit == "1" for places in (near, far) for at, bit in zip(places, FORMAT_M_0)}
    want[size - 8, 8] = True
    for i in range(18 if version >= 7 else 0):
        bit = bool(VERSION_BITS[version] >> i & 1)
        want[i // 3, size - 11 + i % 3] = want[size - 11 + i % 3, i // 3] = bit
    wrong = [at for at, dark in want.items() if rows[at[0]][at[1]] != dark]
    assert not wrong, wrong
    return set(want)


def _alignments(size: int, version: int) -> list[tuple[int, int]]:
    if version == 1:
        return []
    centres = [6, size - 7] if version < 7 else [6, (size - 1) // 2, size - 7]
    corners = {(6, 6), (6, size - 7), (size - 7, 6)}
    return [(y, x) for y in centres for x in centres if (y, x) not in corners]


def _words(rows: Rows, size: int, used: set[tuple[int, int]]) -> list[int]:
    bits, columns = [], [x for x in range(size - 1, -1, -1) if x != 6]
    for pair in range(0, len(columns), 2):
        down = range(size) if pair // 2 % 2 else range(size - 1, -1, -1)
        for y in down:
            bits += [rows[y][x] != ((x + y) % 2 == 0) for x in columns[pair : pair + 2] if (y, x) not in used]
    return [sum(bit << 7 - i for i, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits) - 7, 8)]


def _data(words: list[int], version: int) -> list[int]:
    blocks, correction, total = SHAPES[version]
    assert len(words) == total
    data = total - blocks * correction
    lengths = [data // blocks + (i >= blocks - data % blocks) for i in range(blocks)]
    order = [(i, at) for at in range(max(lengths)) for i in range(blocks) if at < lengths[i]]
    parts = [[words[order.index((i, at))] for at in range(lengths[i])] for i in range(blocks)]
    for i, part in enumerate(parts):
        assert not any(_syndromes(part + words[data + i :: blocks][:correction], correction)), "a word is wrong"
    return [word for part in parts for word in part]


def _syndromes(block: list[int], count: int) -> list[int]:
    """The block's polynomial at the powers of 2 in GF(256): 0 everywhere if nothing is wrong."""
    values, at = [], 1
    for _ in range(count):
        value = 0
        for word in block:
            value = _times(value, at) ^ word
        values.append(value)
        at = _times(at, 2)
    return values


def _times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def _text(words: list[int], version: int) -> str:
    bits = "".join(f"{word:08b}" for word in words)
    digits = 8 if version < 10 else 16
    length, start = int(bits[4 : 4 + digits], 2), 4 + digits
    assert bits[:4] == "0100", "bytes"
    return bytes(int(bits[start + 8 * i : start + 8 * i + 8], 2) for i in range(length)).decode()
