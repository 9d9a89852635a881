"""A reader of tar archives (POSIX ustar and pax, GNU long names) that takes time linear in their bytes.

Python's own is not bounded by what a header says: the pattern by which it reads a pax header takes time
quadratic in it (CVE-2024-6232) while nothing else of the process runs, and a header with a negative size
makes it read one place for ever (CVE-2025-8194).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from schemas.errors import ArchiveError

BLOCK = 512
MAX_HEADER = 64 * 1024
"""Bytes of one extended header: a path of 1,024 bytes and a few attributes need far less."""

_REGULAR = (b"0", b"\0", b"7")
_DIRECTORY = b"5"
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"


@dataclass(frozen=True, slots=True)
class TarEntry:
    """A file or folder of an archive: its bytes are the `size` ones that begin at `start`."""

    name: str
    folder: bool
    start: int
    size: int


def tar_entries(plain: IO[bytes]) -> Iterator[TarEntry]:
    """The entries of a seekable archive, in order. Raises `ArchiveError` for all but files and folders.

    The reader may be moved between entries. What is left when the archive ends must be its end mark.
    """
    at = 0
    extended: dict[str, str] = {}
    while True:
        plain.seek(at)
        header = plain.read(BLOCK)
        if header == bytes(BLOCK):
            if plain.read(BLOCK) != bytes(BLOCK):
                raise ArchiveError("the tar stops without its end mark: it is cut short or damaged")
            return
        if len(header) < BLOCK or not _sum_fits(header):
            raise ArchiveError("the tar stops without its end mark: it is cut short or damaged")
        kind = header[156:157]
        size = _number(header[124:136], "size")
        start, at = at + BLOCK, at + BLOCK + -(-size // BLOCK) * BLOCK
        if kind in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
            content = _extended(plain, size)
            if kind == _PAX:
                extended |= _pax(content)
            elif kind == _LONG_NAME:
                extended["path"] = _text(content.rstrip(b"\0"))
            elif kind == _PAX_GLOBAL and {"path", "size"} & _pax(content).keys():
                raise ArchiveError(
                    "the tar gives one path or size for all its files: archive them one by one"
                )
            continue
        name = extended.get("path") or _name(header)
        if any(key.startswith("GNU.sparse") for key in extended) or not (
            kind in _REGULAR or kind == _DIRECTORY
        ):
            raise ArchiveError(f"{name!r} is a link, device or sparse: archive plain files only")
        if "size" in extended:
            size = _decimal(extended["size"])
            at = start + -(-size // BLOCK) * BLOCK
        folder = kind == _DIRECTORY or name.endswith("/")
        yield TarEntry(name, folder, start, size)
        if folder:
            at = start
        extended = {}


def _sum_fits(header: bytes) -> bool:
    told = header[148:156]
    counted = sum(header) - sum(told) + 8 * 0x20
    try:
        return _number(told, "checksum") == counted
    except ArchiveError:
        return False


def _number(field: bytes, what: str) -> int:
    """A field in octal digits, or in base 256 where its first bit is set; never negative."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.rstrip(b"\0 ").lstrip(b" ") or b"0"
    if any(d not in b"01234567" for d in digits):
        raise ArchiveError(f"a header of the tar has the {what} {field!r}: it is damaged")
    return int(digits, 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ArchiveError(f"a header of the tar has the size {text[:20]!r}: it is damaged")
    return int(text)


def _extended(plain: IO[bytes], size: int) -> bytes:
    if size > MAX_HEADER:
        raise ArchiveError(f"the tar has an extended header of {size} bytes: at most {MAX_HEADER} are read")
    content = plain.read(size)
    if len(content) < size:
        raise ArchiveError("the tar stops in a header: it is cut short or damaged")
    return content


def _pax(content: bytes) -> dict[str, str]:
    """The records `LENGTH KEY=VALUE LF` of a pax header, each as long as it says."""
    found: dict[str, str] = {}
    at = 0
    while at < len(content) and content[at] != 0:
        space = content.find(b" ", at, at + 8)
        digits = content[at:space] if space > at else b""
        if not digits.isdigit():
            raise ArchiveError("the tar has an extended header that is damaged")
        end = at + int(digits)
        record = content[space + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if end <= space or end > len(content) or not equals or record[-1:] != b"\n":
            raise ArchiveError("the tar has an extended header that is damaged")
        found[_text(key)] = _text(value)
        at = end
    return found


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return _text(name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ArchiveError(f"{raw[:80]!r} is no readable name: archive names in UTF-8") from None
