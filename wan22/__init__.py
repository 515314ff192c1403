"""Wan2.2 A14B: two experts and the plan that says which works when, on how many frames, with how many branches.

From Python the product has the library's name, so this file is its front door: `wan22.generate` is answered by mgcli, as the
command `wan22` is. Nothing is imported until a name is asked for, and the library behind the door knows nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgcli.python.video import MadeVideo, VideoRun, generate

__all__ = ["MadeVideo", "VideoRun", "generate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mgcli.python import video

    return getattr(video, name)


def __dir__() -> list[str]:
    return sorted(__all__)
