"""Tensors to a safetensors file: whole or not at all, and to be read by whom the umask lets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def save_tensors(path: Path, tensors: Mapping[str, Tensor], notes: dict[str, str] | None = None) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.touch()
        mode = part.stat().st_mode  # the library makes a file of its own, for its owner alone
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part, notes)
        part.chmod(mode)
        part.replace(path)
    except SafetensorError as error:  # what it makes of a full disk
        raise OSError(f"{path} cannot be written ({error}): free some space or choose another place") from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)
