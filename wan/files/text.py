"""Text and JSON that people write, read whole: no more than there can be of it, in UTF-8, and as JSON if it should be.

A name may lead to a device that never ends or to a file of another kind, and a JSON may say numbers or depths that Python
refuses in words of its own. Each of these is one sentence that names the file. No torch: the command line reads presets here.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 2**20  # of anything that people write; the record of a day's session is a few MB

PIECE = 2**16


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    with path.open("rb") as file:
        content = b"".join(itertools.islice(iter(lambda: file.read(PIECE), b""), most // PIECE + 1))
    if len(content) > most:
        raise ValueError(f"{path} does not end within {most:,} bytes, which no text here takes; name another file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 (byte {error.start} is none of it); save it as such") from None


def read_json(path: Path) -> Any:
    return parse_json(read_text(path), str(path))


def parse_json(content: str, source: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{source} is nested too deeply to be read") from None
    except ValueError:  # of a number with thousands of digits
        raise ValueError(f"{source} has a number that is too long to be one") from None


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """In UTF-8. A file's name need not be text in it; what is not is written as the escape that reads back as what it was."""
    written = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    return written.encode("utf-8", "backslashreplace")
