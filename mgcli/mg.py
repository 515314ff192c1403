"""`mg`: the game world. A command is a file in mgcli/commands; adding one is adding its name here."""

import sys

from mgcli.command_line import command_line
from mgcli.errors import run

COMMANDS = (
    "generate",
    "stream",
    "frames",
    "download",
    "doctor",
)

app = command_line("mg", "Matrix-Game 2.0: a world that answers to keys and mouse, generated frame by frame.", COMMANDS)


def main() -> None:
    sys.exit(run(app, sys.argv[1:]))
