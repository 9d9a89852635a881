"""How predictions of one data type are judged: which score, which outcome, and what is told apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from schemas.errors import SettingsError, StoreError
from schemas.features.declarations import FeatureType
from schemas.lifecycle.quality import Kind
from udfs.lifecycle.quality.class_figures import MOST_CLASSES
from udfs.lifecycle.statistics.moments import LARGEST

KINDS = {"int64": FeatureType.INT64, "float64": FeatureType.FLOAT64, "bool": FeatureType.BOOL}
KINDS |= {"string": FeatureType.STRING}
MULTICLASS, LABELS = "multiclass", "labels"
"""The kinds of what is judged by `classes`, in the store and in messages."""
CLASS = "{class}"
_OFF = 0.01
_ITEM = re.compile(r"(.+)\[(\d{1,9})\]")


@dataclass(frozen=True, slots=True)
class Judging:
    """`score`: the output that is judged, `NAME` or `NAME[0]`. `label`: the outcome's field that is held
    against it, and `positive` its value that counts as the positive class (none: true or 1).

    `classes`: the label's values where there may be more than two, text, whole numbers, or true and false.
    `score` is then a list of their probabilities in this order, or has `{class}` in the place of their
    names: `probability({class})`. With the kind "labels" it is one of `classes` itself, of a model that
    answers no probabilities. What is kept of an outcome, and of such a label, is its place among them, so new
    ones come last.

    `key`: the field of record and outcome by which they meet; empty: source, partition and offset of the
    record. `time`: the outcome's field with its time (epoch milliseconds, or
    ISO 8601, UTC unless it says otherwise); empty: that of its message.
    `entity`: the record's field that names the unit of experiments. `fields`: fields of the record that go
    into the store, name -> int64, float64, bool or string. `slices`: up to three of them by which quality is
    told apart. `metrics`: numbers of the outcome that are evidence of experiments. `without`: what no outcome
    in time counts as; none: nothing is known.

    `class_names`: `classes` as text; `outputs`: what the scores of each class are called, where they have
    names; `kept_as`: the kind of the sums, in the store and in messages. All follow from the above.

    Raises `SettingsError` where these contradict each other.
    """

    score: str
    label: str = "label"
    kind: Literal["classes", "labels", "numbers"] = "classes"
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
    class_names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    outputs: tuple[str, ...] = field(init=False, repr=False, compare=False)
    kept_as: Kind = field(init=False, repr=False, compare=False)
    _item: tuple[str, int] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._derive()
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
        elif self.kind == "labels":
            raise SettingsError("of labels give `classes`: those that there may be")
        elif CLASS in self.score:
            raise SettingsError(f"{self.score!r} has a name for each class: give `classes`")

    def _derive(self) -> None:
        names = tuple(map(_class_name, self.classes))
        by_name = CLASS in self.score
        several = LABELS if self.kind == "labels" else MULTICLASS
        item = _ITEM.fullmatch(self.score)
        derived = {
            "class_names": names,
            "outputs": tuple(self.score.replace(CLASS, name) for name in names) if by_name else (),
            "kept_as": several if self.classes else self.kind,
            "_item": None if item is None else (item[1], int(item[2])),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def _check_classes(self) -> None:
        if self.kind == "numbers" or self.positive is not None or self.without is not None:
            raise SettingsError("with `classes` there is no `positive`, no `without`, and no kind `numbers`")
        if self.kind == "labels" and self.outputs:
            raise SettingsError(f"of labels `score` is the output that says one of them, not {self.score!r}")
        if not 1 < len(self.classes) <= MOST_CLASSES:
            raise SettingsError(f"there are 2 to {MOST_CLASSES} classes, not {len(self.classes)}")
        if twice := [name for name in self.class_names if self.class_names.count(name) > 1]:
            raise SettingsError(f"class {twice[0]!r} is given twice")
        if len({type(value) for value in self.classes}) > 1:
            raise SettingsError("classes are all text, all whole numbers, or true and false")

    @property
    def stored_score(self) -> str:
        """`score`, in the prediction store: with `classes` a JSON object of both."""
        if not self.classes:
            return self.score
        return orjson.dumps({"score": self.score, "classes": self.classes}).decode()

    @classmethod
    def of_stored(cls, score: str, kind: str, **more: Any) -> Judging:
        """The inverse of `stored_score` and `kept_as`. Raises `StoreError` for what is neither."""
        if kind not in (MULTICLASS, LABELS):
            return cls(score, kind="numbers" if kind == "numbers" else "classes", **more)
        try:
            found = orjson.loads(score)
            of: Literal["labels", "classes"] = "labels" if kind == LABELS else "classes"
            return cls(found["score"], kind=of, classes=tuple(found["classes"]), **more)
        except (ValueError, TypeError, KeyError, SettingsError) as e:
            raise StoreError(f"no classes are judged by {score[:200]!r}: {e}") from None

    def probabilities_of(self, scores: Mapping[str, Any]) -> list[float] | None:
        """Of each of `classes`; None where one is missing or outside of [0, 1], and where their sum is not
        1 (within 0.01), for then they are none."""
        values: Any = scores.get(self.score)
        if self.outputs:
            found = [scores.get(name) for name in self.outputs]
            values = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in found]
        if not isinstance(values, list) or len(values) != len(self.classes):
            return None
        if not all(isinstance(value, (int, float)) and 0 <= value <= 1 for value in values):
            return None
        return [float(value) for value in values] if abs(sum(values) - 1) <= _OFF else None

    def score_of(self, scores: Mapping[str, Any]) -> float | None:
        """The judged score of a prediction, with `classes` the greatest probability, of labels the place of
        the one that was said; None where there is none, or none that can be judged."""
        if self.kind == "labels":
            return self._label_in(scores)
        if self.classes:
            probabilities = self.probabilities_of(scores)
            return None if probabilities is None else max(probabilities)
        value = scores.get(self.score)
        if type(value) is float and 0 <= value <= 1:  # nearly all are
            return value
        value = self._one_of(scores, value)
        if not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
            return None
        if self.kind == "classes" and not 0 <= value <= 1:
            return None
        return float(value)

    def _one_of(self, scores: Mapping[str, Any], value: Any) -> Any:
        """What there is of the output, which is an item of a list, or the only one."""
        if value is None and self._item is not None:
            name, at = self._item
            values = scores.get(name)
            value = values[at] if isinstance(values, list) and at < len(values) else None
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    def _label_in(self, scores: Mapping[str, Any]) -> float | None:
        place = self._place(self._one_of(scores, scores.get(self.score)))
        return None if place is None else float(place)

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
        if (place := self._place(value)) is not None:
            return place
        names = ", ".join(map(repr, self.classes[:10]))
        raise ValueError(f"{self.label!r} is {value!r:.100}, none of the classes, as {names}")

    def _place(self, value: Any) -> int | None:
        like = type(self.classes[0])
        same = isinstance(value, like) or (like is int and isinstance(value, float))
        fits = same and isinstance(value, bool) is (like is bool) and value in self.classes
        return self.classes.index(value) if fits else None


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
