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
    "convert",
    "doctor",
    "completion",
)
EXAMPLES = (
    ("mg doctor", "what this machine can do, and what is here already"),
    ("mg generate", "a video of the mini world: nothing to download"),
    ("mg stream", "the same, played with the keys of this terminal"),
    ("mg download universal", "the released model"),
)

app = command_line(
    "mg",
    "Matrix-Game 2.0: worlds that begin in a picture and answer to keys and mouse, made frame by frame.",
    COMMANDS,
    EXAMPLES,
)


def main() -> None:
    with interruptible():
        sys.exit(run(app, sys.argv[1:]))


if __name__ == "__main__":  # python -m, where nothing is installed
    main()
