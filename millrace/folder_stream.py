"""A folder as a stream: descriptors written to it, JSON lines read from it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from schemas.errors import SourceError

_NAME = re.compile(r"(?P<created>\d{13})-(?P<rest>.+)-v(?P<version>\d+)\.model")
_POLL_SECONDS = 0.2


def newest(folder: Path, data_type: str) -> tuple[int, int]:
    """The latest creation time (epoch ms) in the folder and the highest version of the data type, or 0."""
    created = version = 0
    for path in folder.glob("*.model"):
        if found := _NAME.fullmatch(path.name):
            created = max(created, int(found["created"]))
            if found["rest"].startswith(f"{_safe(data_type)}-"):
                version = max(version, int(found["version"]))
    return created, version


def write(
    folder: Path, descriptor: bytes, *, created_ms: int, data_type: str, name: str, version: int
) -> Path:
    """Put one descriptor into the folder; it appears whole or not at all, and replaces none.

    Readers take `*.model` in the order of names, which is the order of creation. Raises `SourceError`.
    """
    target = folder / f"{created_ms:013d}-{_safe(data_type)}-{_safe(name)}-v{version}.model"
    hidden = folder / f".{target.name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise SourceError(f"{target} exists already; publish again for a new time")
        with hidden.open("xb") as out:
            out.write(descriptor)
            out.flush()
            os.fsync(out.fileno())
        hidden.rename(target)
    except OSError as e:
        raise SourceError(f"the descriptor could not be written to {folder}: {e}") from e
    finally:
        hidden.unlink(missing_ok=True)
    return target


def lines(folder: Path, *, follow: bool = False, from_beginning: bool = True) -> Iterator[bytes]:
    """Whole lines of the visible files in and below the folder, in the order of names; no line twice.

    Names that begin with `.` or `_` are files in progress. With `follow` it goes on for ever with what is
    added, and a folder that is not there yet, in one that is, is waited for: a job makes it with its first
    output. Raises `SourceError` where the folder cannot be read.
    """
    if not folder.is_dir() and not (follow and folder.parent.is_dir()):
        raise SourceError(f"there is no folder {folder}")
    read: dict[Path, int] = {}
    if not from_beginning:
        read = {path: path.stat().st_size for path in _files(folder)}
    while True:
        yield from added(folder, read, to_end=not follow)
        if not follow:
            return
        time.sleep(_POLL_SECONDS)


def added(folder: Path, read: dict[Path, int], *, to_end: bool = False) -> Iterator[bytes]:
    """The lines that were added since: `read` says how much of each file was, and is kept up to date.

    `to_end`: a last line without an end is one. Raises `SourceError` where a file cannot be read.
    """
    for path in _files(folder):
        yield from _new_lines(path, read, to_end=to_end)


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of one file. Raises `SourceError` where it cannot be read."""
    return _new_lines(path, {}, to_end=True)


def _files(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        found += [Path(parent, name) for name in names if not name.startswith((".", "_"))]
    return sorted(found)


def _new_lines(path: Path, read: dict[Path, int], *, to_end: bool) -> Iterator[bytes]:
    try:
        if path.stat().st_size <= read.get(path, 0):
            return
        with path.open("rb") as file:
            file.seek(read.get(path, 0))
            for line in file:
                if not line.endswith(b"\n") and not to_end:
                    return  # its rest is still to come
                read[path] = read.get(path, 0) + len(line)
                if line.strip():
                    yield line.rstrip(b"\r\n")
    except FileNotFoundError:
        return  # tidied away meanwhile
    except OSError as e:
        raise SourceError(f"{path} could not be read: {e}") from e


def _safe(name: str) -> str:
    """The name with whatever a file name should not hold as %XX, and not too long for one."""
    return quote(name, safe=" ")[:80]
