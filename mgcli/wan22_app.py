"""`wan22`: video from text or an image. A command is a file in mgcli/commands; adding one is adding its name here."""

import sys

from mgcli.app.interrupt import interruptible

with interruptible():
    from mgcli.app.command_line import command_line
    from mgcli.app.errors import run

COMMANDS = ("t2v", "i2v", "plan", "compare", "wan22_bench", "wan22_download", "convert", "completion")
EXAMPLES = (
    (
        'wan22 t2v -p "Two small red stars drift slowly to the left."',
        "a video by the mini: nothing to download",
    ),
    ("wan22 download t2v-A14B", "the released model"),
    ('wan22 t2v -p "two cats boxing" --size "832*480" --accel recommended', "a video by it"),
)

app = command_line("wan22", "Wan2.2 A14B: video from text, or from an image and text.", COMMANDS, EXAMPLES)


def main() -> None:
    with interruptible():
        sys.exit(run(app, sys.argv[1:]))


if __name__ == "__main__":  # python -m, where nothing is installed
    main()
