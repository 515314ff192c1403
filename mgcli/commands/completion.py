"""`mg completion`, `wan22 completion`: what a shell needs to complete commands, flags and their values."""

from __future__ import annotations

from typing import Annotated

import typer

from mgcli.app.console import console
from mgcli.app.flag import completed

EXAMPLES = (
    ("PROGRAM completion bash >> ~/.bashrc", "bash: once; the next one that is opened completes"),
    ("PROGRAM completion zsh >> ~/.zshrc", "zsh: the same, below the line with compinit"),
    ("PROGRAM completion fish > ~/.config/fish/completions/PROGRAM.fish", "fish"),
)
SHELLS = {"bash": EXAMPLES[0], "zsh": EXAMPLES[1], "fish": EXAMPLES[2]}


def completion(
    context: typer.Context,
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.", autocompletion=completed(SHELLS))],
) -> None:
    """Print the script with which a shell completes commands, flags and their values when Tab is pressed.

    Installed by adding it to what the shell reads when it starts, as in the examples.
    """
    from typer.completion import get_completion_script

    if shell not in SHELLS:
        raise ValueError(f"no completion for {shell!r}; there is one for {', '.join(SHELLS)}")
    program = context.find_root().info_name or ""
    script = get_completion_script(prog_name=program, complete_var=f"_{program.upper()}_COMPLETE", shell=shell)
    console.result({"shell": shell, "script": script}, script)
    install, _ = SHELLS[shell]
    console.next(f"to install it: {install.replace('PROGRAM', program)}")
