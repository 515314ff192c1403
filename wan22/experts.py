"""Two experts of 28 GB each and where they live: both on the device, one at a time, or streamed through it block by block,
from the host's memory or from their file.

The next expert is loaded by a background thread from the moment the first one is handed out, where there is room for it, so
that the switch waits for what is left of it and no more. One that is streamed needs no loading: its blocks come when they are
wanted. A model is handed out only when its load has returned; a load that fails stops the run at the next step instead of at
the switch.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass

import torch

from wan.device import release
from wan.fast.offload import RING, stop_streaming
from wan.modules.model import WanModel
from wan22.config import Residency
from wan22.plan import Expert

HOST = torch.device("cpu")


@dataclass(frozen=True)
class Where:
    """On a device, or with `blocks` of it on the host at a time, which pass through the device."""

    device: torch.device
    blocks: int | None = None


Load = Callable[[Expert, Where], WanModel]
STREAMED = {"stream": sys.maxsize, "disk": RING}  # blocks on the host at a time


class Experts:
    """`get` an expert, as often as wanted; `load(expert, where)` makes one from files. `ahead`: the host has room for the
    next one while the present one works."""

    def __init__(
        self,
        load: Load,
        device: torch.device | str,
        residency: Residency,
        needed: Collection[Expert] = ("high", "low"),
        ahead: bool = True,
    ):
        self.device = torch.device(device)
        self.residency = residency
        self._load = load
        self._needed = needed  # a very short run has no low-noise steps
        self._ahead = residency == "both" or residency == "one" and ahead
        self._ready: dict[Expert, WanModel] = {}
        self._coming: dict[Expert, Future[WanModel]] = {}

    def get(self, expert: Expert) -> WanModel:
        """The expert, whole and where it runs; waits for what is left of its loading."""
        if expert not in self._ready:
            self._take(expert)
        if self._ahead and expert == "high" and "low" in self._needed and "low" not in self._ready:
            self._begin("low")
        self._raise_failure()
        return self._ready[expert]

    def close(self) -> None:
        """Give the memory of both back; a later `get` loads again."""
        self._let_go()
        self._coming.clear()

    def _let_go(self) -> None:
        while self._ready:
            stop_streaming(self._ready.popitem()[1])
        release(self.device)

    def _take(self, expert: Expert) -> None:
        if not self._ahead:
            self._let_go()  # before the next one takes memory
        self._begin(expert)
        model = self._coming.pop(expert).result()
        if self.residency != "both":
            self._let_go()
        self._ready[expert] = model if self.residency in STREAMED else model.to(self.device)

    def _begin(self, expert: Expert) -> None:
        if expert not in self._coming:
            where = self._where()
            self._coming[expert] = in_background(lambda: on_own_stream(self.device, lambda: self._load(expert, where)))

    def _where(self) -> Where:
        if self.residency in STREAMED:
            return Where(self.device, STREAMED[self.residency])
        # with one at a time, the next waits on the host until the first has left the device
        return Where(self.device if self.residency == "both" or not self._ready else HOST)

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
