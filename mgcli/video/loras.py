"""The LoRA files of a run, opened and said in a line each before anything is loaded: what they are, what fits, whose they are.

Imports torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mgcli.video.request import Wan22Request
from wan.files.lora import Lora, open_lora
from wan22.config import find_task
from wan22.loras import NamedLora
from wan22.plan import Expert

log = logging.getLogger(__name__)
BOTH: tuple[Expert, ...] = ("high", "low")
Shapes = Mapping[str, tuple[int, ...]]
Loras = Mapping[Expert, Sequence[tuple[Lora, float]]]


@dataclass(frozen=True)
class UsedLora:
    lora: Lora
    strength: float
    experts: tuple[Expert, ...]

    @property
    def told(self) -> str:
        where = f"the {self.experts[0]}-noise expert" if len(self.experts) == 1 else "both experts"
        return f"{self.lora.told}; strength {self.strength:g} on {where}"


def used_loras(request: Wan22Request, shapes: Callable[[], Shapes]) -> list[UsedLora]:
    """Those of a request, for a model of these tensors, which is asked for them where there are any."""
    if not request.loras:
        return []
    tensors = shapes()
    used = [one for named in request.loras for one in _used(named, open_lora(named.path, tensors))]
    for one in used:
        log.info(one.told)
        if one.lora.expert and one.lora.expert not in one.experts:
            log.warning(f"{one.lora.path} seems made for the {one.lora.expert}-noise expert, and is used on the other")
    return used


def _used(named: NamedLora, found: list[Lora]) -> Iterable[UsedLora]:
    own = [lora for lora in found if len(found) == 1 or named.expert in (None, lora.expert)]
    for lora in own:
        wanted = named.expert or lora.expert
        _ = lora.sha256  # of what is used, not of what may be there when the record is written
        yield UsedLora(lora, named.strength, (wanted,) if wanted else BOTH)


def by_expert(used: Iterable[UsedLora]) -> dict[Expert, list[tuple[Lora, float]]]:
    found: dict[Expert, list[tuple[Lora, float]]] = {}
    for one in used:
        for expert in one.experts:
            found.setdefault(expert, []).append((one.lora, one.strength))
    return found


def facts(loras: Loras) -> list[dict[str, Any]]:
    """As a record has them."""
    return [
        {"file": str(lora.path), "sha256": lora.sha256, "strength": strength, "expert": expert}
        | {"changes": len(lora.changes), "left_out": len(lora.unfit)}
        for expert, each in loras.items()
        for lora, strength in each
    ]


def planned_loras(request: Wan22Request) -> list[dict[str, Any]]:
    """Held to the released model, which needs no weights for that."""
    import torch

    from wan22.memory import released_model

    model = released_model(find_task(request.task).model, torch.float32)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return facts(by_expert(used_loras(request, lambda: shapes)))
