"""How predictions of one data type are judged: which score, which outcome, and what is told apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from schemas.errors import SettingsError, StoreError
from schemas.features.declarations import FeatureType
from udfs.lifecycle.quality.many_classes import MOST_CLASSES
from udfs.lifecycle.statistics.moments import LARGEST

KINDS = {"int64": FeatureType.INT64, "float64": FeatureType.FLOAT64, "bool": FeatureType.BOOL}
KINDS |= {"string": FeatureType.STRING}
MULTICLASS = "multiclass"
"""The kind of what is judged by `classes`, in the store and in messages."""
CLASS = "{class}"
_OFF = 0.01
_ITEM = re.compile(r"(.+)\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Judging:
    """`score`: the output that is judged, `NAME` or `NAME[0]`. `label`: the outcome's field that is held
    against it, and `positive` its value that counts as the positive class (none: true or 1).

    `classes`: the label's values where there may be more than two, text, whole numbers, or true and false.
    `score` is then a list of their probabilities in this order, or has `{class}` in the place of their
    names: `probability({class})`. What is kept of an outcome is its place among them, so new ones come last.

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
    classes: tuple[str | int | bool, ...] = ()
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
        if self.classes:
            self._check_classes()
        elif CLASS in self.score:
            raise SettingsError(f"{self.score!r} has a name for each class: give `classes`")

    def _check_classes(self) -> None:
        if self.kind != "classes" or self.positive is not None or self.without is not None:
            raise SettingsError("with `classes` there is no `positive`, no `without`, and no other kind")
        if not 1 < len(self.classes) <= MOST_CLASSES:
            raise SettingsError(f"there are 2 to {MOST_CLASSES} classes, not {len(self.classes)}")
        if twice := [name for name in self.class_names if self.class_names.count(name) > 1]:
            raise SettingsError(f"class {twice[0]!r} is given twice")
        if len({type(value) for value in self.classes}) > 1:
            raise SettingsError("classes are all text, all whole numbers, or true and false")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of `classes`, as text."""
        return tuple(map(_class_name, self.classes))

    @property
    def stored_kind(self) -> str:
        """`kind`, in the prediction store."""
        return MULTICLASS if self.classes else self.kind

    @property
    def stored_score(self) -> str:
        """`score`, in the prediction store: with `classes` a JSON object of both."""
        if not self.classes:
            return self.score
        return orjson.dumps({"score": self.score, "classes": self.classes}).decode()

    @classmethod
    def of_stored(cls, score: str, kind: str, **more: Any) -> Judging:
        """The inverse of these two. Raises `StoreError` for what is neither."""
        if kind != MULTICLASS:
            return cls(score, kind="numbers" if kind == "numbers" else "classes", **more)
        try:
            found = orjson.loads(score)
            return cls(found["score"], classes=tuple(found["classes"]), **more)
        except (ValueError, TypeError, KeyError, SettingsError) as e:
            raise StoreError(f"no classes are judged by {score[:200]!r}: {e}") from None

    def probabilities_of(self, scores: Mapping[str, Any]) -> list[float] | None:
        """Of each of `classes`; None where one is missing or outside of [0, 1], and where their sum is not
        1 (within 0.01), for then they are none."""
        values: Any = scores.get(self.score)
        if CLASS in self.score:
            found = [scores.get(self.score.replace(CLASS, name)) for name in self.class_names]
            values = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in found]
        if not isinstance(values, list) or len(values) != len(self.classes):
            return None
        if not all(isinstance(value, (int, float)) and 0 <= value <= 1 for value in values):
            return None
        return [float(value) for value in values] if abs(sum(values) - 1) <= _OFF else None

    def score_of(self, scores: Mapping[str, Any]) -> float | None:
        """The judged score of a prediction, with `classes` the greatest probability; None where there is
        none, or none that can be judged."""
        if self.classes:
            probabilities = self.probabilities_of(scores)
            return None if probabilities is None else max(probabilities)
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
        if self.classes:
            return float(self._place_of(value))
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

    def _place_of(self, value: Any) -> int:
        """Of a label among `classes`. Raises `ValueError`."""
        like = type(self.classes[0])
        same = isinstance(value, like) or (like is int and isinstance(value, float))
        if same and isinstance(value, bool) is (like is bool) and value in self.classes:
            return self.classes.index(value)
        names = ", ".join(map(repr, self.classes[:10]))
        raise ValueError(f"{self.label!r} is {value!r:.100}, none of the classes, as {names}")


def _class_name(value: str | int | bool) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


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
