"""Archives that expand without end, leave their folder, or hold the interpreter by their headers."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterator

from faults.inputs import Hostile, model


def hostile() -> Iterator[Hostile]:
    def archive(name: str, data: bytes) -> Hostile:
        return model(name, data, "TENSORFLOWSAVED")

    yield archive("tar header of digits", _digits(700_000))
    yield archive("zip that expands", _zip({"saved_model.pb": bytes(600 << 20)}))
    yield archive("gzip that expands", gzip.compress(bytes(400 << 20), 9))
    yield archive(
        "zip out of its folder", _zip({"../../../../tmp/millrace-hostile": b"x", "saved_model.pb": b""})
    )
    yield archive("zip of many entries", _zip({f"{n}": b"" for n in range(9000)}))
    yield archive("tar with a link", _link())
    yield archive("zip cut", _zip({"saved_model.pb": b"\x08\x01" * 500})[:-30])
    yield archive("zip of noise", _zip({"saved_model.pb": bytes(range(256)) * 40}))


def _zip(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return held.getvalue()


def _digits(size: int) -> bytes:
    """An extended header that Python's own reader takes time in the square of its length for."""
    head = tarfile.TarInfo("././@PaxHeader")
    head.type, head.size = tarfile.XHDTYPE, size
    return head.tobuf(tarfile.USTAR_FORMAT) + b"1" * size + b"\0" * (-size % 512) + b"\0" * 1024


def _link() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as made:
        link = tarfile.TarInfo("saved_model.pb")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(link)
    return held.getvalue()
