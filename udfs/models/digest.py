"""The fingerprint of a model's content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple


class Digest(NamedTuple):
    """`sha256` in lower-case hex, `size` in bytes."""

    sha256: str
    size: int


def digest_of(content: bytes | Path) -> Digest:
    """SHA-256 and size of bytes, of a file, or of a folder.

    A folder's digest does not depend on the file system: it is the SHA-256 over one line a file,
    `relative/path NUL size NUL sha256 LF`, with the size in decimal, the digest in hex and the lines
    sorted by the UTF-8 bytes of the path. Its size is the sum of the files' sizes; empty folders and file
    times do not count. Raises `OSError`.

    >>> digest_of(b"abc").sha256[:8], digest_of(b"abc").size
    ('ba7816bf', 3)
    """
    if isinstance(content, bytes):
        return Digest(hashlib.sha256(content).hexdigest(), len(content))
    if not content.is_dir():
        return _of_file(content)
    lines, total = [], 0
    for file in (p for p in content.rglob("*") if p.is_file()):
        sha256, size = _of_file(file)
        total += size
        lines.append((file.relative_to(content).as_posix().encode(), b"%d\0%s\n" % (size, sha256.encode())))
    whole = hashlib.sha256()
    for path, rest in sorted(lines):
        whole.update(path + b"\0" + rest)
    return Digest(whole.hexdigest(), total)


def _of_file(path: Path) -> Digest:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Digest(sha256, file.tell())
