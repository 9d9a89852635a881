"""Unpack the zip, tar or tar.gz bytes of a SavedModel without trusting anything they say."""

from __future__ import annotations

import gzip
import io
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from schemas.errors import ArchiveError
from udfs.models.runtimes.archive_names import archived
from udfs.models.runtimes.tar_entries import tar_entries

MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1024
CHUNK = 1 << 20
SAVED_MODEL = "saved_model.pb"
MAX_DEPTH = 4  # folders around a SavedModel, as in export/name/1/
MAX_RATIO = 200  # a graph and its weights make a tenth to all of their size
FREE_BYTES = 64 << 20  # whatever the ratio
ENCRYPTED = 0x1
PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ZIP_END = 22  # bytes of the record at a zip's end, before its comment
_ZIP_ENTRY = 46 + 2 * MAX_PATH_BYTES  # of an entry of its directory, at most


class _Reader(Protocol):
    def read(self, count: int, /) -> bytes: ...


Entry = tuple[PurePosixPath, _Reader | None]


def unpack(data: bytes, into: Path, max_bytes: int, max_files: int) -> Path:
    """Unpack `data` into a new folder inside `into` and return the SavedModel folder within it.

    Where it may stand, `saved_model_folder` says. `max_bytes` bounds what is written, counted while it is
    written; `max_files` bounds the entries, folders included. A zip that says in its directory that it holds
    more is refused before anything is read. Raises `ArchiveError`, and then leaves nothing behind.
    """
    folder = Path(tempfile.mkdtemp(prefix="model-", dir=into))
    try:
        if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            _write(_zip_entries(data, max_bytes, max_files), folder, max_bytes, max_files)
        elif data[:2] == b"\x1f\x8b":
            written = max_bytes + max_files * CHUNK // 256
            with tempfile.TemporaryFile(dir=into) as plain:
                _gunzip(data, plain, min(written, max(FREE_BYTES, MAX_RATIO * len(data))))
                _write(_tar_files(plain), folder, max_bytes, max_files)
        else:
            _write(_tar_files(io.BytesIO(data)), folder, max_bytes, max_files)
        return saved_model_folder(folder)
    except ArchiveError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # The readers of damaged archives raise from a wide family: struct, zlib, lookup and value errors.
    except Exception as e:
        shutil.rmtree(folder, ignore_errors=True)
        raise ArchiveError(f"the archive of {len(data)} bytes is damaged: {e or type(e).__name__}") from e


def holds_saved_model(path: Path) -> bool:
    """Whether a file is an archive with a SavedModel somewhere in it."""
    return any(PurePosixPath(name).name == SAVED_MODEL for name in archived(path)[0])


def saved_model_folder(folder: Path) -> Path:
    """The folder of the one SavedModel in `folder`, at most `MAX_DEPTH` folders down.

    Of versions (`1/`, `2/`, as TensorFlow Serving has them) the highest. Raises `ArchiveError` where there is
    none, or more than one.
    """
    here = [folder]
    for _ in range(MAX_DEPTH + 1):
        if found := [f for f in here if (f / SAVED_MODEL).is_file()]:
            if len(found) > 1 and len({f.parent for f in found}) == 1 and all(_is_version(f) for f in found):
                return max(found, key=lambda f: int(f.name))
            if len(found) > 1:
                names = ", ".join(str(f.relative_to(folder)) for f in sorted(found)[:4])
                raise ArchiveError(
                    f"{len(found)} folders with a {SAVED_MODEL} ({names}): archive one of them"
                )
            return found[0]
        here = [below for f in here for below in f.iterdir() if below.is_dir() and not below.is_symlink()]
    raise ArchiveError(
        f"no {SAVED_MODEL} at the top or up to {MAX_DEPTH} folders down: archive one SavedModel"
    )


def _is_version(folder: Path) -> bool:
    return folder.name.isascii() and folder.name.isdecimal() and len(folder.name) < 20


def _zip_entries(data: bytes, max_bytes: int, max_files: int) -> Iterator[Entry]:
    _check_directory(data, max_files)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > max_files:
            raise ArchiveError(f"the archive has more than {max_files} entries")
        said = sum(entry.file_size for entry in entries)
        if said > max_bytes:
            raise ArchiveError(f"the archive unpacks to more than {max_bytes} bytes: it says {said}")
        if said > FREE_BYTES and said > MAX_RATIO * len(data):
            raise ArchiveError(
                f"the archive of {len(data)} bytes unpacks to {said}, which is more than {MAX_RATIO} times "
                "as much: archive it as a plain tar where that is meant"
            )
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.flag_bits & ENCRYPTED:
                raise ArchiveError(f"{entry.filename!r} is encrypted: archive the model without a password")
            if entry.compress_type not in PLAIN_METHODS:
                raise ArchiveError(
                    f"{entry.filename!r} is packed by method {entry.compress_type}: deflate it"
                )
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(f"{entry.filename!r} is a link or a device: archive plain files only")
            # `filename` stops at a NUL and has its separators changed; what was written is what is judged
            path = _checked(entry.orig_filename)
            if entry.is_dir():
                yield path, None
            else:
                with archive.open(entry) as content:
                    yield path, content


def _check_directory(data: bytes, max_files: int) -> None:
    """Refuse a directory of more bytes than so many entries can have: all of it is read at once."""
    end = data.rfind(b"PK\x05\x06", -_ZIP_END - (1 << 16))
    size = int.from_bytes(data[end + 12 : end + 16], "little") if end >= 0 else 0
    if size > max_files * _ZIP_ENTRY:
        raise ArchiveError(f"the archive has more than {max_files} entries: its directory has {size} bytes")


def _tar_files(plain: IO[bytes]) -> Iterator[Entry]:
    for entry in tar_entries(plain):
        path = _checked(entry.name)
        if entry.folder:
            yield path, None
        else:
            plain.seek(entry.start)
            yield path, _Part(plain, entry.size)


class _Part:
    """The next bytes of a reader, up to a number of them."""

    def __init__(self, plain: IO[bytes], size: int) -> None:
        self._plain, self._left = plain, size

    def read(self, count: int) -> bytes:
        """At most `count` bytes, b"" at the end. Raises `ArchiveError` where the reader ends before."""
        data = self._plain.read(min(count, self._left))
        if not data and self._left and count:
            raise ArchiveError("the tar stops in the middle of a file: it is cut short")
        self._left -= len(data)
        return data


def _gunzip(data: bytes, into: IO[bytes], bound: int) -> None:
    total = 0
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        while chunk := packed.read(CHUNK):
            total += len(chunk)
            if total > bound:
                raise ArchiveError(f"the archive unpacks to more than {bound} bytes")
            into.write(chunk)
    into.seek(0)


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise ArchiveError(f"{name!r} is no readable name") from None
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise ArchiveError(f"{name!r} leaves the folder of the archive: archive relative names only")
    if len(raw) > MAX_PATH_BYTES or any(len(part.encode()) > MAX_NAME_BYTES for part in path.parts):
        raise ArchiveError(f"{name[:40]!r}... is too long a name ({len(raw)} bytes)")
    return path


def _write(entries: Iterator[Entry], folder: Path, max_bytes: int, max_files: int) -> None:
    left = max_bytes
    for count, (path, content) in enumerate(entries, 1):
        if count > max_files:
            raise ArchiveError(f"the archive has more than {max_files} entries")
        target = folder / path
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            while chunk := content.read(min(CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise ArchiveError(f"the archive unpacks to more than {max_bytes} bytes")
                out.write(chunk)
