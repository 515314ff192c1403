"""The VAE by strips, at released width with random weights: the same pictures as whole, in the memory that was predicted."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.bench.strips import Latents, apart, borders, drawn, frames, open_decoder, peak, predicted
from tests.gpu.doors import free, relative
from tests.gpu.leg import Failed, Setting, leg, need_cuda
from wan.config import WAN21_VAE
from wan22.memory import choose_strips, usable_bytes


@leg(40)
def vae_strips(setting: Setting) -> str:
    """The fast decoder in float16 by 2, 3 and 5 strips is no further from its float32 frames than whole, and no further beside
    the borders of strips than elsewhere."""
    torch.backends.cudnn.allow_tf32 = False  # what rounds to 10 bits is no measure
    config = replace(WAN21_VAE, dim=8) if setting.rehearse else WAN21_VAE
    size: Latents = (3, 5, 20) if setting.rehearse else (4, 60, 104)
    latents = drawn(size, torch.device(setting.device))
    truth = frames(open_decoder(latents.device, torch.float32, config), latents, 1)
    free()
    decoder = open_decoder(latents.device, torch.float16, config)
    whole, worst = relative(frames(decoder, latents, 1), truth), 0.0
    for count in (2, 3, 5):
        far, beside = apart(frames(decoder, latents, count).float(), truth, *borders(decoder, size, count))
        # rounding is in another order where convolutions have another size; it is as large, and random
        if far > 1.1 * whole:
            raise Failed(f"{count} strips are {far:.2e} from float32, the whole {whole:.2e}")
        if beside > 1.5 * far:
            raise Failed(f"{count} strips have seams: {beside:.2e} from float32 there, {far:.2e} in all")
        worst = max(worst, far)
    return f"{worst:.1e} from float32, whole {whole:.1e}"


@leg(60)
def vae_strips_memory(setting: Setting) -> str:
    """What strips take is no more than was predicted, and 81 frames of 1280x720 are decoded in 3 GiB."""
    need_cuda(setting)
    device = torch.device(setting.device)
    decoder = open_decoder(device, torch.float16)
    cases: list[tuple[Latents, int]] = [((4, 60, 104), count) for count in (1, 2, 4)] + [((3, 160, 90), 3)]
    full = (21, 90, 160)
    count = choose_strips(decoder, full, usable_bytes(device), little=True)
    found = []
    for size, strips in [*cases, (full, count)]:
        took, said = peak(decoder, drawn(size, device), strips) or 0.0, predicted(decoder, size, strips)
        found.append(f"{strips} strips of {size[1]}x{size[2]}: {took:.2f} of {said:.2f} GiB")
        if took > said or (size == full and took > 3):
            raise Failed(found[-1])
    return ", ".join(found)
