"""The two command lines, `mg` and `wan22`, and the world from Python: terminal, files, progress. No tensor math lives here.

    world = mgcli.World(seed=1)
    frames = world.step("W")

Nothing is imported until a name is asked for: `import mgcli` costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself takes long enough for a Ctrl-C before anybody guards against it
if TYPE_CHECKING:
    from mgcli.python.world import World

__all__ = ["World"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mgcli.python import world

    return getattr(world, name)


def __dir__() -> list[str]:
    return sorted(__all__)
