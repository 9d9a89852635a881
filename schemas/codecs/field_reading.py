"""How a field of a record becomes what a model reads: the declaration, as it stands in a model's descriptor.

Every runtime, `millrace score` and the smoke test read records by it. Fields that none names are read as they
are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Path = tuple[str | int, ...]
_STEP = re.compile(r'(?:^|\.)(?:"(?P<quoted>[^"]+)"|(?P<name>[^."\[\]]+))|\[(?P<index>\d{1,6})\]')


class Form(StrEnum):
    """How a value stands in the record, where that is not how the model takes it."""

    AS_IS = ""
    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    BASE64 = "base64"
    TIMESTAMP = "timestamp"
    DECIMAL = "decimal"


@dataclass(frozen=True, slots=True)
class FieldReading:
    """One field. `name` is what inputs call it, `path` where it is.

    `default`: the value where the record has none or null (None: such a record is refused), `missing`: it is
    missing to the model then. `constant`: the value whatever the record holds. `scale`: of a decimal's
    unscaled digits. `unit`: of timestamps as the model takes them, `record_unit` where it has numbers.
    `pad`: what fills a sequence that is too short, at its `pad_at` (start or end); `keep`: the part (first,
    last) of one that is too long. `bounds`: of numbers that are made up to try the model with.
    """

    name: str
    path: Path
    form: Form = Form.AS_IS
    default: Any = None
    missing: bool = False
    constant: Any = None
    scale: int = 0
    unit: str = ""
    record_unit: str = ""
    pad: Any = None
    pad_at: str = "end"
    keep: str = ""
    bounds: tuple[float | None, float | None] | None = None


Readings = tuple[FieldReading, ...]

UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86_400 * 10**9,
}
"""Nanoseconds of each unit of time."""


def parse_path(text: str) -> Path:
    """
    >>> parse_path('payload.after."unit.price"[0]')
    ('payload', 'after', 'unit.price', 0)

    Raises `ValueError`.
    """
    path: list[str | int] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f'{text!r} is no path: write a.b, a[0] or a."b.c"')
        path.append(int(found["index"]) if found["index"] else found["quoted"] or found["name"])
        at = found.end()
    if not path or isinstance(path[0], int):
        raise ValueError(f"{text!r} is no path: it begins with the name of a field")
    return tuple(path)


def path_text(path: Path) -> str:
    """The inverse of `parse_path`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (f'"{step}"' if re.search(r'[."\[\]]', step) else step)
    return text


def check_words(reading: FieldReading) -> None:
    """Raise `ValueError` for words that a declaration does not know, and for parts that contradict."""
    for word, known, what in (
        (reading.pad_at, ("start", "end"), "pad_at"),
        (reading.keep, ("", "first", "last"), "keep"),
        (reading.unit, ("", *UNITS), "unit"),
        (reading.record_unit, ("", *UNITS), "record_unit"),
    ):
        if word not in known:
            raise ValueError(f"{what} is {word!r}; known are {', '.join(filter(None, known))}")
    if (reading.unit or reading.record_unit) and reading.form is not Form.TIMESTAMP:
        raise ValueError("units are for timestamps: give from = 'timestamp'")
    if reading.scale and reading.form is not Form.DECIMAL:
        raise ValueError("scale is for decimals: give from = 'decimal'")
    if reading.missing and reading.default is not None:
        raise ValueError("what is not there is either missing or has a default, not both")
    if not -38 <= reading.scale <= 38:
        raise ValueError(f"scale is {reading.scale}; it is between -38 and 38")
