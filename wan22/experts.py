"""Two experts of 28 GB each and where they live: both on the device, one at a time, or streamed through it block by block.

The next expert is loaded by a background thread from the moment the first one is handed out, so that the switch waits for
what is left of it and no more. A model is handed out only when its load has returned; a load that fails stops the run at
the next step instead of at the switch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future

import torch

from wan.device import release
from wan.fast.offload import stream_blocks
from wan.modules.model import WanModel
from wan22.config import Residency
from wan22.plan import Expert

Load = Callable[[Expert, torch.device], WanModel]
HOST = torch.device("cpu")


class Experts:
    """`get` an expert, as often as wanted; `load(expert, device)` makes one from files."""

    def __init__(
        self,
        load: Load,
        device: torch.device | str,
        residency: Residency,
        needed: Collection[Expert] = ("high", "low"),
    ):
        self.device = torch.device(device)
        self.residency = residency
        self._load = load
        self._needed = needed  # a very short run has no low-noise steps
        self._ready: dict[Expert, WanModel] = {}
        self._coming: dict[Expert, Future[WanModel]] = {}

    def get(self, expert: Expert) -> WanModel:
        """The expert, whole and where it runs; waits for what is left of its loading."""
        if expert not in self._ready:
            self._take(expert)
        if expert == "high" and "low" in self._needed and "low" not in self._ready:
            self._begin("low")
        self._raise_failure()
        return self._ready[expert]

    def close(self) -> None:
        """Give the memory of both back; a later `get` loads again."""
        self._ready.clear()
        self._coming.clear()
        release(self.device)

    def _take(self, expert: Expert) -> None:
        self._begin(expert)
        model = self._coming.pop(expert).result()
        if self.residency != "both":
            self._ready.clear()
            release(self.device)
        self._ready[expert] = stream_blocks(model, self.device) if self.residency == "stream" else model.to(self.device)

    def _begin(self, expert: Expert) -> None:
        if expert not in self._coming:
            # with one at a time, the next waits on the host until the first has left the device
            straight = self.residency == "both" or self.residency == "one" and not self._ready
            where = self.device if straight else HOST
            self._coming[expert] = in_background(lambda: on_own_stream(self.device, lambda: self._load(expert, where)))

    def _raise_failure(self) -> None:
        for future in self._coming.values():
            if future.done():
                future.result()


def in_background(work: Callable[[], WanModel]) -> Future[WanModel]:
    """A daemon, unlike an executor's threads: Ctrl-C must not wait for 28 GB."""
    future: Future[WanModel] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="next expert").start()
    return future


def on_own_stream(device: torch.device, work: Callable[[], WanModel]) -> WanModel:
    """Copies to the device neither wait for the other expert's kernels nor hold them up, and are done on return."""
    if device.type != "cuda":
        return work()
    with torch.cuda.stream(torch.cuda.Stream(device)) as _:
        model = work()
        torch.cuda.current_stream(device).synchronize()
    return model
