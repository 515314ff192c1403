"""Ctrl-C while a program is still importing itself: the one line and the exit code of the error boundary (errors.py).

Nothing is imported here but what every Python has loaded already, because an import would not be covered.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130


@contextmanager
def interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(INTERRUPTED)
