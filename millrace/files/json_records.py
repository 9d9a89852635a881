"""JSON lines: each line is a payload as it is. Blank lines are no records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from millrace.files.base import FileBatch
from schemas.codecs.base import Code
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import SourceError
from schemas.tensors import BadRecord


class JsonLines:
    """Reads lines of at most `max_bytes`. Raises `SourceError`, also for one JSON array of records."""

    def __init__(self, path: Path, max_bytes: int = 1 << 20) -> None:
        self.codec = JsonCodec(max_bytes)
        self._path, self._max_bytes = path, max_bytes
        try:
            with path.open("rb") as file:
                start = file.read(4096).lstrip()
        except OSError as e:
            raise SourceError(f"cannot read {path}: {e}") from e
        if start.startswith(b"["):
            raise SourceError(f"{path} is a JSON array: give one object a line (jq -c '.[]' {path.name})")

    def batches(self, size: int) -> Iterator[FileBatch]:
        payloads: list[bytes] = []
        unreadable: dict[int, BadRecord] = {}
        for line in self._lines():
            if line is None:
                row = len(payloads)
                reason = f"the line has more than {self._max_bytes} bytes"
                unreadable[row] = BadRecord(row, Code.TOO_LARGE.value, reason)
            payloads.append(line or b"")
            if len(payloads) == size:
                yield FileBatch(payloads, unreadable)
                payloads, unreadable = [], {}
        if payloads:
            yield FileBatch(payloads, unreadable)

    def _lines(self) -> Iterator[bytes | None]:
        """The lines without their end; None for one that is too long, which is passed over in pieces."""
        limit = self._max_bytes + 2
        try:
            with self._path.open("rb") as file:
                while line := file.readline(limit):
                    if len(line) == limit and not line.endswith(b"\n"):
                        while line and not line.endswith(b"\n"):
                            line = file.readline(limit)
                        yield None
                    elif line.strip():
                        yield line.rstrip(b"\r\n")
        except OSError as e:
            raise SourceError(f"cannot read {self._path}: {e}") from e
