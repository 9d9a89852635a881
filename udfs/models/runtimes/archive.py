"""Unpack the zip, tar or tar.gz bytes of a SavedModel without trusting anything they say."""

from __future__ import annotations

import gzip
import io
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from schemas.errors import ArchiveError

MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1024
CHUNK = 1 << 20
SAVED_MODEL = "saved_model.pb"
TAR_END = 1024  # a tar ends with two blocks of zeros
ENCRYPTED = 0x1
PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

Entry = tuple[PurePosixPath, IO[bytes] | None]


def unpack(data: bytes, into: Path, max_bytes: int, max_files: int) -> Path:
    """Unpack `data` into a new folder inside `into` and return the SavedModel folder within it.

    The model stands at the top of the archive or in its one folder (such as `1/`). `max_bytes` bounds what
    is written, counted while it is written; `max_files` bounds the entries, folders included. Raises
    `ArchiveError`, and then leaves nothing behind.
    """
    folder = Path(tempfile.mkdtemp(prefix="model-", dir=into))
    try:
        if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            _write(_zip_entries(data), folder, max_bytes, max_files)
        elif data[:2] == b"\x1f\x8b":
            with tempfile.TemporaryFile(dir=into) as plain:
                _gunzip(data, plain, max_bytes + max_files * CHUNK // 256)
                _write(_tar_entries(plain), folder, max_bytes, max_files)
        else:
            _write(_tar_entries(io.BytesIO(data)), folder, max_bytes, max_files)
        return saved_model_folder(folder)
    except ArchiveError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # The readers of damaged archives raise from a wide family: struct, zlib, lookup and value errors.
    except Exception as e:
        shutil.rmtree(folder, ignore_errors=True)
        raise ArchiveError(f"the archive of {len(data)} bytes is damaged: {e or type(e).__name__}") from e


def saved_model_folder(folder: Path) -> Path:
    """`folder`, or the one folder in it that holds a `saved_model.pb`. Raises `ArchiveError`."""
    if (folder / SAVED_MODEL).is_file():
        return folder
    found = [below for below in folder.iterdir() if (below / SAVED_MODEL).is_file()]
    if len(found) != 1:
        what = "no" if not found else f"{len(found)} folders with a"
        raise ArchiveError(f"{what} {SAVED_MODEL} at the top or one folder down: archive one SavedModel")
    return found[0]


def _zip_entries(data: bytes) -> Iterator[Entry]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
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


def _tar_entries(plain: IO[bytes]) -> Iterator[Entry]:
    end = 0
    with tarfile.open(fileobj=plain, mode="r:") as archive:
        for entry in archive:
            if not (entry.isreg() or entry.isdir()) or entry.issparse():
                raise ArchiveError(f"{entry.name!r} is a link, device or sparse: archive plain files only")
            path = _checked(entry.name)
            yield path, archive.extractfile(entry) if entry.isreg() else None
            end = entry.offset_data + (-(-entry.size // 512) * 512 if entry.isreg() else 0)
    # tarfile takes a damaged header or the end of the bytes for the end of the archive; we do not
    plain.seek(end)
    if plain.read(TAR_END) != bytes(TAR_END):
        raise ArchiveError("the tar stops without its end mark: it is cut short or damaged")


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
