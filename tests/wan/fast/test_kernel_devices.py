"""Every kernel runs where its tensors are, whichever device is the current one."""

import ast
from pathlib import Path

import pytest
import torch

from wan.fast import kernels
from wan.fast.kernels import action, fp8, norm, packed, qkv, vae
from wan.fast.kernels.arguments import Sum
from wan.files.packed import FORMATS
from wan.modules.rope import rope_table

FILES = sorted(Path(kernels.__file__).parent.glob("*.py"))


class Drawn:
    """Random tensors on a device, the same in the same order on every other."""

    def __init__(self, device):
        self.device, self.generator = device, torch.Generator().manual_seed(0)

    def __call__(self, *shape):
        return torch.randn(*shape, generator=self.generator).to(self.device)


def add_norm(draw):
    return norm.add_norm(draw(2, 6, 40), draw(2, 6, 40), draw(2, 3, 40), (draw(2, 3, 40), draw(2, 3, 40)))


def gated_add(draw):
    return (norm.gated_add(draw(2, 6, 40), draw(2, 6, 40), draw(2, 3, 40)),)


def norm_rope_place(draw):
    rope, norms = rope_table(range(3), 1, 2, (8, 8, 8), device=draw.device), (draw(48), draw(48))
    place = draw(2, 6, 2, 24), draw(2, 6, 2, 24)
    return qkv.norm_rope_place(draw(2, 6, 144), norms, rope, 2, place, 1e-6), *place


def rms_norm_heads(draw):
    return (qkv.rms_norm_heads(draw(2, 5, 48), draw(48), 2, 1e-6),)


def mouse_attention(draw):
    rope = rope_table(range(3), 1, 1, (8, 28, 28), 256, draw.device)
    keys, values = draw(4, 6, 2, 64), draw(4, 6, 2, 64)  # two positions of two worlds
    slots, past = (keys[:, :3], values[:, :3]), (keys[:, 3:], values[:, 3:])
    return action.mouse_attention(draw(2, 6, 3 * 128), 3, 2, rope, slots, past), keys, values


def keyboard_attention(draw):
    rope = rope_table(range(3), 1, 1, (8, 28, 28), 256, draw.device)
    keys, values = draw(2, 6, 2, 64), draw(2, 6, 2, 64)
    slots = keys[:, :3], values[:, :3]
    return action.keyboard_attention(draw(2, 6, 128), draw(2, 3, 256), 2, rope, slots, (keys, values)), keys, values


def bias_gelu(draw):
    return (action.bias_gelu(draw(2, 6, 40), draw(2, 3, 40)),)


def quantised(draw):
    return fp8.quantised(draw(6, 40), gelu=True)


def lay(draw):
    past = draw(2, 2, 3, 5, 24)
    return *vae.lay_frames(Sum(draw(2, 3, 3, 5, 24), draw(2, 3, 3, 5, 24), draw(24)), draw(24), past, keep=True), past


def unpack(draw):
    out = draw(6, 256)
    packed.unpack((draw(6, 144).abs() * 10).byte(), FORMATS["Q4_K"], out)
    return (out,)


CASES = (
    add_norm,
    gated_add,
    norm_rope_place,
    rms_norm_heads,
    mouse_attention,
    keyboard_attention,
    bias_gelu,
    quantised,
    lay,
    unpack,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:1", marks=pytest.mark.multi_gpu)])
def test_the_same_beside_the_current_device(case, device):
    """Bit for bit; on a CPU only what the cases are is tested."""
    where = torch.device(device)
    first = torch.device("cuda:0") if where.index else where
    assert first.index is None or torch.cuda.current_device() == first.index
    for want, got in zip(case(Drawn(first)), case(Drawn(where)), strict=True):
        assert got.device == where
        assert torch.equal(got.cpu().float(), want.cpu().float())  # 8-bit floats do not compare


def test_every_kernel_is_among_the_cases():
    functions = [node for path in FILES if path.name.startswith("triton_") for node in parsed(path).body]
    public = {f.name for f in functions if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")}
    assert public == {case.__name__ for case in CASES}


def test_every_launch_is_guarded():
    """`kernel[grid](...)` by itself goes to the current device, whatever it is given."""
    found = {path.name: (launches(parsed(path)), guarded_launches(path)) for path in FILES}
    assert [name for name, (every, guarded) in found.items() if every != guarded] == []
    assert any(every for every, _ in found.values())


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def launches(tree):
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript)]
    return [ast.unparse(call) for call in called]


def guarded_launches(path):
    blocks = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.With)]
    return [
        call for block in blocks if "torch.cuda.device_of" in ast.unparse(block.items[0]) for call in launches(block)
    ]
