"""What differs between operating systems, under one set of names: posix.py has them for Linux and macOS, windows.py for Windows.

Whoever needs one of them imports it from here and does not ask where it runs.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from mgcli.app import windows as here
else:
    from mgcli.app import posix as here

HUNG_UP = here.HUNG_UP
NAME_UNIT, NO_FOLLOW = here.NAME_UNIT, here.NO_FOLLOW
keys, terminal_kept = here.keys, here.terminal_kept
lock, let_go = here.lock, here.let_go
name_length, longest_name = here.name_length, here.longest_name
host_memory, peak_memory = here.host_memory, here.peak_memory
