"""What was asked for and cannot be had, as a library says it: the reason, and beside it the settings that would help.

A library has no command line, so its sentences name no flags. Settings are called as in a request, a preset or a Speed; the
command line, whose flags have the same names, adds them to what it shows.
"""

from __future__ import annotations


class Refusal(ValueError):
    def __init__(self, reason: str, *settings: str):
        super().__init__(reason)
        self.settings = settings  # a name, or a name and a value: "any_size", "residency one"
