"""How predictions of one data type are judged: which score, which outcome, and what is told apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.errors import SettingsError
from schemas.features.declarations import FeatureType
from udfs.lifecycle.statistics.moments import LARGEST

KINDS = {"int64": FeatureType.INT64, "float64": FeatureType.FLOAT64, "bool": FeatureType.BOOL}
KINDS |= {"string": FeatureType.STRING}
_ITEM = re.compile(r"(.+)\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Judging:
    """`score`: the output that is judged, `NAME` or `NAME[0]`. `label`: the outcome's field that is held
    against it, and `positive` its value that counts as the positive class (none: true or 1).

    `key`: the field of record and outcome by which they meet; empty: source, partition and offset of the
    record. `time`: the outcome's field with its time (epoch milliseconds, or
    ISO 8601, UTC unless it says otherwise); empty: that of its message.
    `entity`: the record's field that names the unit of experiments. `fields`: fields of the record that go
    into the store, name -> int64, float64, bool or string. `slices`: up to three of them by which quality is
    told apart. `metrics`: numbers of the outcome that are evidence of experiments. `without`: what no outcome
    in time counts as; none: nothing is known.

    Raises `SettingsError` where these contradict each other.
    """

    score: str
    label: str = "label"
    kind: Literal["classes", "numbers"] = "classes"
    threshold: float = 0.5
    positive: str | int | float | bool | None = None
    key: str = ""
    time: str = ""
    entity: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    slices: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    without: float | None = None

    def __post_init__(self) -> None:
        if wrong := sorted(name for name, kind in self.fields.items() if kind not in KINDS):
            kinds = ", ".join(KINDS)
            raise SettingsError(f"field {wrong[0]!r} is {self.fields[wrong[0]]!r}; a field is one of {kinds}")
        if unknown := [name for name in self.slices if name not in self.fields]:
            raise SettingsError(f"slice {unknown[0]!r} is not among the fields that are stored")
        if len(self.slices) > 3:
            raise SettingsError(f"quality is told apart by up to three slices, not {len(self.slices)}")
        if self.kind == "classes" and self.without not in (None, 0, 1):
            raise SettingsError("of classes, what no outcome counts as is 0 or 1")

    def score_of(self, scores: Mapping[str, Any]) -> float | None:
        """The judged score of a prediction; None where there is none, or none that can be judged."""
        value = scores.get(self.score)
        if type(value) is float and 0 <= value <= 1:  # nearly all are
            return value
        if value is None and (item := _ITEM.fullmatch(self.score)):
            values, at = scores.get(item[1]), int(item[2])
            value = values[at] if isinstance(values, list) and at < len(values) else None
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
            return None
        if self.kind == "classes" and not 0 <= value <= 1:
            return None
        return float(value)

    def outcome_of(self, value: Any) -> float:
        """An outcome as a number. Raises `ValueError`, which says why it is none."""
        if self.kind == "numbers":
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= LARGEST:
                raise ValueError(f"{self.label!r} is no number, or one beyond {LARGEST:g}")
            return float(value)
        if self.positive is not None:
            if value is None or isinstance(value, (dict, list)):
                raise ValueError(f"{self.label!r} is no class")
            if isinstance(value, str) is not isinstance(self.positive, str):  # 1 and "1" are never equal
                is_text = "text" if isinstance(value, str) else "no text"
                said = f"{self.label!r} is {is_text}, other than the positive class, {self.positive!r}"
                raise ValueError(f"{said}: give both the same type")
            return float(value == self.positive)
        if value in (0, 1):
            return float(value)
        raise ValueError(f"{self.label!r} is neither true or false nor 1 or 0: say which value is positive")


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """A field, or where there is none of that name what its dots lead to; None where there is nothing."""
    if path in record:
        return record[path]
    found: Any = record
    for step in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return found


def as_declared(value: Any, kind: str) -> Any:
    """A record's value as the type of its column; None where it is not of it."""
    match kind:
        case "int64":
            fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
            return value if fits else None
        case "float64":
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
            return float(value) if fits else None
        case "bool":
            return value if isinstance(value, bool) else None
        case _:
            return value if isinstance(value, str) else None
