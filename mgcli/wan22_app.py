"""`wan22`: video from text or an image. A command is a file in mgcli/commands; adding one is adding its name here."""

import sys

from mgcli.app.interrupt import interruptible

with interruptible():
    from mgcli.app.command_line import command_line
    from mgcli.app.errors import run

COMMANDS = ("t2v", "i2v", "plan", "compare", "wan22_bench")

app = command_line("wan22", "Wan2.2 A14B: video from text or from an image, with two experts.", COMMANDS)


def main() -> None:
    with interruptible():
        sys.exit(run(app, sys.argv[1:]))


if __name__ == "__main__":  # python -m, where nothing is installed
    main()
