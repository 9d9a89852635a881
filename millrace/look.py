"""A first look into a file or folder that someone takes for a model: bytes and names, nothing is run.

Pickles are read as a list of opcodes, never opened: opening one runs whatever is in it.
"""

from __future__ import annotations

import bz2
import io
import lzma
import pickletools
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from udfs.models.runtimes.archive_names import MOST_NAMES, archived

_HEAD = 64 * 1024
_PICKLES = tuple(b"\x80%c" % n for n in range(2, 6))
_JOBLIB = "joblib.numpy_pickle"
_NAMES = re.compile(
    rb"\x8c([\x01-\x7f])([A-Za-z_][\w.]{0,126})|c([A-Za-z_][\w.]{0,126})\n[A-Za-z_]\w{0,126}\n"
)
_PACKED: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lzma.LZMADecompressor),
    (b"\x5d\0\0", lzma.LZMADecompressor),
    (b"x\x01", zlib.decompressobj),
    (b"x\x5e", zlib.decompressobj),
    (b"x\x9c", zlib.decompressobj),
    (b"x\xda", zlib.decompressobj),
)


@dataclass(frozen=True, slots=True)
class Look:
    """`head`: the first bytes of a file, unpacked where it is compressed. `names`: of an archive or folder.

    `packed`: the file is compressed as a whole. `pickled`: the modules that a pickle names, None for others.
    """

    path: Path
    head: bytes = b""
    names: tuple[str, ...] = ()
    is_archive: bool = False
    packed: bool = False
    pickled: tuple[str, ...] | None = None

    def holds(self, *endings: str) -> str:
        """The first name with the first of these endings that there is, or ""."""
        return next((n for ending in endings for n in self.names if n.endswith(ending)), "")


def look(path: Path) -> Look:
    """Raises `OSError` where the file cannot be read."""
    if path.is_dir():
        inside = sorted(p.relative_to(path).as_posix() for p in islice(path.rglob("*"), MOST_NAMES))
        return Look(path, names=tuple(inside))
    names, is_archive = archived(path)
    with path.open("rb") as file:
        raw = file.read(_HEAD)
    head = _unpacked(raw)
    return Look(path, head, names, is_archive, head is not raw, None if is_archive else _pickled(head))


def _unpacked(raw: bytes) -> bytes:
    for magic, opener in _PACKED:
        if raw.startswith(magic):
            try:
                return opener().decompress(raw, _HEAD) or raw
            except (OSError, EOFError, zlib.error, lzma.LZMAError):
                return raw
    return raw


def _pickled(head: bytes) -> tuple[str, ...] | None:
    """Modules in order of appearance. Protocols 0 and 1 have no mark: they are known by naming a class."""
    if not head.startswith((*_PICKLES, b"c", b"i", b"(", b"]", b"}")):
        return None
    found: dict[str, None] = {}
    stacked: list[str] = []
    try:
        for opcode, arg, _ in pickletools.genops(io.BytesIO(head)):
            if opcode.name in ("GLOBAL", "INST"):
                found[str(arg).partition(" ")[0]] = None
            elif opcode.name == "STACK_GLOBAL":
                found |= dict.fromkeys(stacked[-2:-1])
            elif "UNICODE" in opcode.name:
                stacked.append(str(arg))
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError):  # where the head ends, or no pickle
        if _JOBLIB in found:  # the numbers of an array stand between the opcodes
            found |= dict.fromkeys(_names_in(head))
        if not head.startswith(_PICKLES) and not (found and all(map(_is_module, found))):
            return None
    if not head.startswith(_PICKLES) and not found:
        return None
    return tuple(found)


def _names_in(head: bytes) -> Iterator[str]:
    """What may be a module, of a pickle of protocol 4 among its short texts, of 2 and 3 among its names."""
    for named in _NAMES.finditer(head):
        size, text, older = named.groups()
        if older or size[0] == len(text):
            yield (older or text).decode("ascii")


def _is_module(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))
