"""`mg`: the game world. A command is a file in mgcli/commands; adding one is adding its name here."""

import sys

from mgcli.app.interrupt import interruptible

with interruptible():
    from mgcli.app.command_line import command_line
    from mgcli.app.errors import run

COMMANDS = (
    "generate",
    "stream",
    "play",
    "frames",
    "bench",
    "download",
    "doctor",
)

app = command_line("mg", "Matrix-Game 2.0: a world that answers to keys and mouse, generated frame by frame.", COMMANDS)


def main() -> None:
    with interruptible():
        sys.exit(run(app, sys.argv[1:]))


if __name__ == "__main__":  # python -m, where nothing is installed
    main()
