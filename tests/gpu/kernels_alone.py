"""Each Triton kernel once or a few times at odd sizes, with nothing else around it: `python -m tests.gpu.kernels_alone`.

For a sanitizer, which makes everything that it watches many times slower. That the numbers are right is checked by
tests/wan/fast/test_kernels.py and test_vae_kernels.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from wan.fast.kernels import triton_action, triton_fp8, triton_norm, triton_packed, triton_qkv, triton_vae
from wan.fast.kernels.vae import Sum
from wan.fast.speed import FP8_CAPABILITY
from wan.files.packed import FORMATS
from wan.modules.rope import rope_table

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # there by Triton's interpreter
HALF = torch.bfloat16 if DEVICE == "cuda" else torch.float32
HEADS, WIDTH, TOKENS = 3, 64, 7
ACTION_ROPE = (8, 28, 28)


def drawn(*shape: int, dtype: torch.dtype = HALF) -> torch.Tensor:
    return torch.randn(shape).to(DEVICE, dtype)


def add_norm() -> None:
    x, rows = drawn(1, 15, 1000), drawn(1, 3, 6, 1000, dtype=torch.float32)
    affine = drawn(1000), drawn(1000)
    triton_norm.add_norm(x, drawn(1, 15, 1000), rows[:, :, 2], (rows[:, :, 0], rows[:, :, 1]), affine, 1e-6, HALF)
    triton_norm.add_norm(x, None, None, None, affine, 1e-6, HALF)


def gated_add() -> None:
    triton_norm.gated_add(drawn(2, 9, 40), drawn(2, 9, 40), drawn(2, 3, 40))


def norm_rope_place() -> None:
    width, tokens = 24, 3 * TOKENS
    rope = rope_table(range(3), 1, TOKENS, (8, 8, 8), device=DEVICE)
    buffer = drawn(2, 2, tokens + 5, HEADS, width)
    norms = drawn(HEADS * width), drawn(HEADS * width)
    for place in ((buffer[0, :, 5:], buffer[1, :, 5:]), (buffer[0, :, :tokens], None)):
        triton_qkv.norm_rope_place(drawn(2, tokens, 3 * HEADS * width), norms, rope, HEADS, place, 1e-6)


def rms_norm_heads() -> None:
    triton_qkv.rms_norm_heads(drawn(2, 5, 1000), drawn(1000), 5, 1e-6)


def mouse_attention() -> None:
    for frames, seen, window in ((3, 6, 6), (2, 5, 15), (1, 1, 4)):
        keys, values = drawn(2, 2 * TOKENS, window, HEADS, WIDTH)
        slots, past = (keys[:, :frames], values[:, :frames]), (keys[:, frames:seen], values[:, frames:seen])
        rope = rope_table(range(frames), 1, 1, ACTION_ROPE, 256, DEVICE)
        triton_action.mouse_attention(drawn(2, frames * TOKENS, 3 * HEADS * WIDTH), frames, HEADS, rope, slots, past)


def keyboard_attention() -> None:
    for frames, seen in ((3, 6), (2, 5), (1, 15)):
        keys, values = drawn(2, 2, 15, HEADS, WIDTH)
        rope = rope_table(range(frames), 1, 1, ACTION_ROPE, 256, DEVICE)
        q = drawn(2, frames * TOKENS, HEADS * WIDTH)
        triton_action.keyboard_attention(q, frames, HEADS, rope, (keys[:, :seen], values[:, :seen]))


def bias_gelu() -> None:
    triton_action.bias_gelu(drawn(2, 9, 100), drawn(2, 3, 100))


def quantised() -> None:
    if DEVICE == "cuda" and torch.cuda.get_device_capability() < FP8_CAPABILITY:
        return
    to = torch.float8_e4m3fn if DEVICE == "cuda" else torch.float32  # the interpreter has no such rounding
    for gelu in (False, True):
        triton_fp8.quantised(drawn(3, 7, 1000), gelu, to)


def lay() -> None:
    shape = (2, 3, 9, 15, 40)
    x, y, bias, gamma = drawn(*shape), drawn(*shape), drawn(40), drawn(40)
    triton_vae.lay(Sum(x, y, bias), gamma, drawn(2, 2, *shape[2:]), True)
    triton_vae.lay(Sum(x), None, drawn(2, 2, *shape[2:]), False)
    triton_vae.lay(Sum(x, y, bias), None, None, False)


def unpack() -> None:
    for format in FORMATS.values():
        packed = torch.randint(0, 256, (13, format.size), dtype=torch.uint8, device=DEVICE)
        triton_packed.unpack(packed, format, drawn(13, format.elements))


CALLS: tuple[Callable[[], None], ...] = (
    add_norm, gated_add, norm_rope_place, rms_norm_heads, mouse_attention, keyboard_attention, bias_gelu, quantised, lay,
    unpack,
)  # fmt: skip


def main() -> None:
    torch.manual_seed(0)
    for call in CALLS:
        call()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
    print(f"kernels: {len(CALLS)} of them, on {DEVICE}")


if __name__ == "__main__":
    main()
