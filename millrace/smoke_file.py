"""Reading the records that a model is tried with before it serves."""

from __future__ import annotations

from pathlib import Path

from schemas.codecs.json_codec import JsonCodec
from schemas.errors import SettingsError
from udfs.models.descriptor_parts import MAX_SMOKE_BYTES, MAX_SMOKE_ROWS


def smoke_rows(path: Path | None) -> tuple[bytes, ...]:
    """The lines of a JSON lines file, each one object; blank lines do not count, and None has none.

    Raises `SettingsError` for a file that holds no records, or more than a descriptor can carry.
    """
    if path is None:
        return ()
    if path.stat().st_size > 2 * MAX_SMOKE_BYTES:
        raise SettingsError(
            f"{path} has {path.stat().st_size:,} bytes; a descriptor carries at most {MAX_SMOKE_BYTES:,} "
            "bytes of smoke rows: give fewer"
        )
    rows = tuple(line.strip() for line in path.read_bytes().splitlines() if line.strip())
    if not rows:
        raise SettingsError(f"{path} holds no records: give one JSON object a line")
    if len(rows) > MAX_SMOKE_ROWS:
        raise SettingsError(f"{path} has {len(rows)} records; give at most {MAX_SMOKE_ROWS} smoke rows")
    bad = JsonCodec().decode(rows, ()).bad
    if bad:
        raise SettingsError(
            f"record {bad[0].row + 1} of {path}: {bad[0].reason}; give one JSON object a line"
        )
    return rows
