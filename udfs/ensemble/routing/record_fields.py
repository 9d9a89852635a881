"""A few fields of many records, whatever their codec: what routes look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from schemas.codecs.base import Codec
from schemas.codecs.json_text import parse_object

Record = dict[str, Any]
_LONG = re.compile(rb"\d{19}")


class RecordFields:
    """Reads the top-level fields `names` of records, or whole records where it is None.

    `raw_json`: payloads are JSON objects; otherwise `codec.to_json` makes one of each.
    """

    def __init__(self, codec: Codec, raw_json: bool, names: Iterable[str] | None) -> None:
        self._codec = codec
        self._names = None if names is None else sorted(set(names))
        self._decode = _decoder(self._names) if raw_json and self._names is not None else None

    def read(self, payloads: Sequence[bytes]) -> list[Record | None]:
        """The fields that each record has; None for a record that cannot be parsed."""
        return [self._record(payload) for payload in payloads]

    def _record(self, payload: bytes) -> Record | None:
        if self._decode is not None:
            try:
                if not payload.isascii():
                    payload.decode()  # msgspec does not look at what it passes over
                values = msgspec.structs.astuple(self._decode(payload))
                if not _LONG.search(payload):  # else a number may be one that the codec reads as a double
                    return _present(self._names, values)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # the codec has the last word
        text = self._codec.to_json(payload)
        if text is None:
            return None
        record = parse_object(text)  # the codec has seen that it can be parsed
        names = self._names
        return record if names is None else {name: record[name] for name in names if name in record}


def _decoder(names: Sequence[str]) -> Callable[[bytes], Any] | None:
    """Builds the named fields and passes over the rest; None for names that msgspec does not take."""
    attributes = [f"f{k}" for k in range(len(names))]
    try:
        shape = msgspec.defstruct(
            "Fields",
            [(a, Any, msgspec.UNSET) for a in attributes],
            rename=dict(zip(attributes, names, strict=True)),
        )
    except ValueError:  # quotes, backslashes and control characters
        return None
    return msgspec.json.Decoder(shape).decode


def _present(names: Any, values: Iterable[Any]) -> Record:
    return {name: value for name, value in zip(names, values, strict=True) if value is not msgspec.UNSET}
