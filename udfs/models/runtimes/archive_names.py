"""The names in an archive that nothing has been asked of yet."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.errors import ArchiveError
from udfs.models.runtimes.tar_entries import tar_entries

MOST_NAMES = 10_000
_TARS: tuple[tuple[bytes, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
)


def archived(path: Path) -> tuple[tuple[str, ...], bool]:
    """The names in a zip or tar, and whether the file is one."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return tuple(archive.namelist()), True
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error):
        return (), True
    return _in_tar(path)


def _in_tar(path: Path) -> tuple[tuple[str, ...], bool]:
    """By a reader whose time is bounded, whatever the headers say."""
    with path.open("rb") as file:
        start = file.read(8)
    opener = next((o for magic, o in _TARS if start.startswith(magic)), lambda place: place.open("rb"))
    names: list[str] = []
    try:
        with opener(path) as plain:
            for entry in tar_entries(plain):
                names.append(entry.name)
                if len(names) >= MOST_NAMES:
                    break
    except (ArchiveError, OSError, EOFError, zlib.error, lzma.LZMAError):
        return tuple(names), bool(names)
    return tuple(names), bool(names)
