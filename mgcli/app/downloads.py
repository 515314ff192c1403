"""Fetching the files of a model: from the Hugging Face hub, or from a plain https address. Both resume where they stopped.

A source answers two questions, which files with what sizes and digests, and fetches one; what to fetch and whether it fits
is decided before the first byte moves, and a file has its name only when it is what was published.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol

from mgcli.app.models import Model, file_problems


@dataclass(frozen=True)
class RemoteFile:
    path: str
    size: int
    digest: str = ""  # 64 letters: SHA-256; 40: the id that git gives a file; none: the source does not say


class Source(Protocol):
    def files(self) -> list[RemoteFile]: ...
    def fetch(self, file: RemoteFile, folder: Path) -> None: ...


def source_of(model: Model, api: Any = None) -> Source:
    """`api` is a huggingface_hub.HfApi; the default one honours HF_TOKEN, HF_ENDPOINT and the rest of the hub's settings."""
    if model.also:
        return Several([source_of(one, api) for one in (replace(model, also=()), *model.also)])
    if not model.on_hub:
        return Web(model)
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    return Hub(model, api)


class Hub:
    """One revision of a repository, fixed when its files are listed; the hub's own client resumes and skips what is there."""

    def __init__(self, model: Model, api: Any) -> None:
        self._model, self._api, self._revision = model, api, ""

    def files(self) -> list[RemoteFile]:
        with _network(f"huggingface.co for {self._model.source}"):
            info = self._api.model_info(self._model.source, files_metadata=True)
        self._revision = info.sha
        published = [RemoteFile(s.rfilename, s.size, s.lfs.sha256 if s.lfs else s.blob_id) for s in info.siblings]
        for pattern in self._model.files:
            if not any(fnmatch(f.path, pattern) for f in published):
                raise ValueError(f"{self._model.source} no longer has {pattern}; a newer mgcli may know its new name")
        return [f for f in published if any(fnmatch(f.path, p) for p in self._model.files)]

    def fetch(self, file: RemoteFile, folder: Path) -> None:
        with _network(f"huggingface.co for {file.path}"):
            self._api.hf_hub_download(self._model.source, file.path, revision=self._revision, local_dir=folder)
        require_published(folder / file.path, file)


class Several:
    """What several publish, as one; each file comes from the one that has it."""

    def __init__(self, sources: list[Source]) -> None:
        self._sources, self._of = sources, dict[str, Source]()

    def files(self) -> list[RemoteFile]:
        found = [(file, source) for source in self._sources for file in source.files()]
        self._of = {file.path: source for file, source in found}
        return [file for file, _ in found]

    def fetch(self, file: RemoteFile, folder: Path) -> None:
        self._of[file.path].fetch(file, folder)


class Web:
    """Files under one https address; an unfinished one is kept as `.part` and continued with a Range request."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def files(self) -> list[RemoteFile]:
        return [RemoteFile(path, self._size(path), self._model.digests.get(path, "")) for path in self._model.files]

    def fetch(self, file: RemoteFile, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{file.path}.part"
        had = _size_here(part)
        if had != file.size:  # else it is whole, and only its name was missing
            self._receive(file, part, had if had < file.size else 0)
        require_published(part, file)
        part.replace(folder / file.path)

    def _receive(self, file: RemoteFile, part: Path, had: int) -> None:
        with _network(self._model.source), self._open(file.path, {"Range": f"bytes={had}-"} if had else {}) as answer:
            resumed = answer.status == 206  # a server that ignores Range sends all of it again
            with part.open("ab" if resumed else "wb") as out:
                shutil.copyfileobj(answer, out, 1 << 20)
        if _size_here(part) < file.size:  # a connection that is closed early is no error to the one who reads
            raise ConnectionError(
                f"{file.path} broke off after {size_text(_size_here(part))} of {size_text(file.size)}; "
                "the same command goes on there"
            )

    def _size(self, path: str) -> int:
        with _network(self._model.source), self._open(path, {}, method="HEAD") as answer:
            size = answer.headers["Content-Length"]
        if size is None:
            raise ConnectionError(
                f"{self._model.source} does not say how large {path} is; copy it from another machine"
            )
        return int(size)

    def _open(self, path: str, headers: dict[str, str], method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self._model.source}/{path}", headers=headers, method=method)
        return urllib.request.urlopen(request, timeout=30)


def require_published(path: Path, file: RemoteFile) -> None:
    """Deletes what is not: going on with it would never make it right."""
    reason = "" if _size_here(path) == file.size else f"has {_size_here(path):,} bytes instead of {file.size:,}"
    if not reason and file.digest and digest_of(path, len(file.digest)) != file.digest:
        reason = f"has another content than the one published ({file.digest[:12]}...)"
    if reason:
        path.unlink(missing_ok=True)
        raise ValueError(f"{file.path} {reason}: it was deleted; run the command again")


def digest_of(path: Path, letters: int) -> str:
    """Of that many letters: SHA-256, or git's SHA-1 of a header and the content."""
    digest = (
        hashlib.sha256() if letters == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    )
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _size_here(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def missing(files: list[RemoteFile], folder: Path) -> list[RemoteFile]:
    return [f for f in files if not (folder / f.path).is_file() or _size_here(folder / f.path) != f.size]


def require_space(folder: Path, needed: int) -> None:
    if folder.parts[0] == "~":
        raise ValueError(
            "no home folder is known here (HOME is not set): say with --dir or MG_MODELS where models live"
        )
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ValueError(
            f"{size_text(needed)} to download, {size_text(free)} free at {existing}; free some space or use --dir"
        )


def verify(files: list[RemoteFile], folder: Path) -> None:
    bad = [f"{f.path} has the wrong size" for f in missing(files, folder)]
    bad += [line for f in files if (folder / f.path).is_file() for line in file_problems(folder / f.path)]
    if bad:
        raise ValueError(f"{'; '.join(bad)}; delete what is named and run the command again")


def size_text(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


@contextmanager
def _network(what: str) -> Iterator[None]:
    """Every way of not getting through, as one OSError that says what to do; an answer such as "401" stays what it is."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError

    try:
        yield
    except (HfHubHTTPError, urllib.error.HTTPError):
        raise
    except (
        HTTPError,
        LocalEntryNotFoundError,
        urllib.error.URLError,
        http.client.HTTPException,
        ConnectionError,
        TimeoutError,
    ) as error:
        reason = (str(getattr(error, "reason", error)) or type(error).__name__).splitlines()[0]
        raise ConnectionError(
            f"cannot reach {what} ({reason}); check the network, or copy the files from another machine"
        ) from error
