"""What `mg play` is started with: a world, and the address at which it is played."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgcli.game.request import GameRequest
from wan.schema import shown

HIGHEST_PORT = 65535


@dataclass(frozen=True)
class PlayRequest(GameRequest):
    output: Path = Path("outputs/play.mp4")  # recordings are numbered: play_1.mp4, play_2.mp4
    host: str = "127.0.0.1"
    port: int = 0  # any free one

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.host.strip():
            raise ValueError(
                "--host is empty, which would be every address: say 0.0.0.0 if that is meant, or leave it out"
            )
        if not 0 <= self.port <= HIGHEST_PORT:
            raise ValueError(f"port {shown(self.port)} is not from 0 to {HIGHEST_PORT}: leave it out for a free one")
        if len(self.image) > 1:
            raise ValueError(f"{len(self.image)} x --image: a world begins with one; drop others into the page")
