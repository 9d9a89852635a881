"""The input fields: which values the dictionary and the mining schema allow, and what happens to others."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol, full_mask
from udfs.models.runtimes.pmml.compiler.columns import Column, Mask, cast, either, fill
from udfs.models.runtimes.pmml.compiler.elements import choice, number, refuse, text_of
from udfs.models.runtimes.pmml.compiler.gathering import AsItIs
from udfs.models.runtimes.pmml.compiler.types import (
    Type,
    constant,
    parse,
    reach,
    single,
    type_named,
    whole_at,
)

_INTEGER_BYTES = 8
_OPTYPES = ("continuous", "categorical", "ordinal")
_CLOSURES = ("openOpen", "openClosed", "closedOpen", "closedClosed")
_REPLACED = ("invalidValueReplacement", "x-invalidValueReplacement")  # the latter before PMML 4.4
_INVALID = ("returnInvalid", "asIs", "asMissing", "asValue")
_LOWER = ("leftMargin", "lowValue")
_BOUND = 2**63
_OUTLIERS = ("asIs", "asMissingValues", "asExtremeValues")
USAGES = (
    "active",
    "predicted",
    "target",
    "supplementary",
    "group",
    "order",
    "frequencyWeight",
    "analysisWeight",
)
_MISSING = ("asIs", "asMean", "asMode", "asMedian", "asValue", "returnInvalid", "x-returnInvalid")


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers between two margins of the field's type, each of which belongs to it or not."""

    low: Any
    high: Any
    low_open: bool
    high_open: bool

    def holds(self, values: np.ndarray) -> Mask:
        above = values > self.low if self.low_open else values >= self.low
        return above & (values < self.high if self.high_open else values <= self.high)


@dataclass(frozen=True, slots=True)
class DataField:
    """A field of the data dictionary. `valid`, `invalid`, `missing`: declared values, of the field's
    type; `missing_texts`: all that stand for a missing value, also those that are of another type."""

    name: str
    kind: Type
    optype: str
    valid: tuple[Any, ...] = ()
    invalid: tuple[Any, ...] = ()
    missing: tuple[Any, ...] = ()
    intervals: tuple[Interval, ...] = ()
    labels: tuple[str, ...] = ()
    displays: dict[str, str] = field(default_factory=dict)
    missing_texts: tuple[str, ...] = ()


def interval(element: ET.Element, kind: Type) -> Interval:
    """An Interval of a field of type `kind`."""
    closure = choice(element, "closure", _CLOSURES)
    (low, low_fits), (high, high_fits) = (
        _bound(element, "leftMargin", kind),
        _bound(element, "rightMargin", kind),
    )
    return Interval(
        low, high, closure.startswith("open") and low_fits, closure.endswith("Open") and high_fits
    )


def _bound(element: ET.Element, name: str, kind: Type) -> tuple[Any, bool]:
    """A bound in the type of what it bounds, infinite where there is none; and whether it is itself a value.

    Of integers a bound between two is the next one inside.
    """
    lower, text = name in _LOWER, element.get(name)
    value = number(element, name, -math.inf if lower else math.inf)
    if text is None or kind is Type.DOUBLE:
        return value, True
    if kind.whole:
        return whole_at(text, up=lower)
    near = single(text)
    return np.float32(math.copysign(math.inf, value) if math.isnan(near) else near), True


def data_field(element: ET.Element) -> DataField:
    """Read a DataField."""
    name = text_of(element, "name")
    kind = type_named(element.get("dataType"), f"the field {name!r}")
    if element.get("isCyclic", "0") not in ("0", "false"):
        refuse(f"the field {name!r} is cyclic")
    values: dict[str, list[Any]] = {"valid": [], "invalid": [], "missing": []}
    labels: list[str] = []
    displays: dict[str, str] = {}
    for value in element.findall("Value"):
        said = text_of(value, "value")
        use = choice(value, "property", ("valid", "invalid", "missing"), "valid")
        one = parse(said, kind)
        if use == "valid":
            labels.append(said)
            if value.get("displayValue") is not None:
                displays[said] = value.get("displayValue", "")
        if one is None and use == "missing":
            continue  # such as NaN of a number, or a text of a number field: it cannot come in as a value
        if one is None:
            refuse(f"the field {name!r} declares the value {said!r}, which is no {kind.value}")
        values[use].append(one)
    optype = choice(element, "optype", _OPTYPES)
    stated = element.findall("Interval")
    if stated and not kind.numeric:
        refuse(f"the field {name!r} is of type {kind.value} and declares intervals")
    intervals = tuple(interval(i, kind) for i in stated)
    missing = tuple(v.get("value", "") for v in element.findall("Value[@property='missing']"))
    return DataField(name, kind, optype, tuple(values["valid"]), tuple(values["invalid"]),
                     tuple(values["missing"]), intervals, tuple(labels), displays, missing)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a MiningField says happens to values; `plain` says nothing. `low`, `high`: of the field's type."""

    optype: str
    invalid: str
    invalid_value: Any
    missing_value: Any
    missing_is_invalid: bool
    outliers: str
    low: Any
    high: Any

    @property
    def plain(self) -> bool:
        return (
            self.invalid == "returnInvalid"
            and self.missing_value is None
            and not self.missing_is_invalid
            and self.outliers == "asIs"
        )


def treatment(element: ET.Element, kind: Type, optype: str) -> Treatment:
    """Read the treatments of a MiningField whose field is of type `kind`."""
    name = text_of(element, "name")
    what = f"the mining field {name!r}"
    invalid = choice(element, "invalidValueTreatment", _INVALID, "returnInvalid")
    said = next((element.get(name) for name in _REPLACED if name in element.attrib), None)
    if invalid == "asIs" and said is not None:
        invalid = "asValue"
    if invalid == "asValue" and said is None:
        refuse(f"{what} replaces invalid values and does not say by what")
    missing_rule = choice(element, "missingValueTreatment", _MISSING, "asIs")
    replaced = element.get("missingValueReplacement")
    outliers = choice(element, "outliers", _OUTLIERS, "asIs")
    if outliers != "asIs" and not kind.numeric:
        refuse(f"{what} treats outliers and is no number")
    restated = element.get("optype")
    if restated is not None:
        choice(element, "optype", _OPTYPES)
        if restated == "continuous" and not kind.numeric:
            refuse(f"{what} is said to be continuous and is no number")
    return Treatment(
        restated or optype,
        invalid,
        None if said is None or invalid != "asValue" else constant(said, kind, what),
        None if replaced is None else constant(replaced, kind, what),
        missing_rule.endswith("returnInvalid") and replaced is None,
        outliers,
        _bound(element, "lowValue", kind)[0],
        _bound(element, "highValue", kind)[0],
    )


def input_symbol(declared: DataField, rule: Treatment, active: bool) -> Symbol:
    """The field of the record, checked and treated; a supplementary field refuses no row."""

    def compute(batch: Batch) -> Column:
        column, invalid = typed(batch.inputs[declared.name], declared.kind)
        return treated(batch, column, invalid, declared, rule, active)

    anything = rule.plain and not (
        declared.valid or declared.invalid or declared.missing or declared.intervals
    )
    if anything and declared.kind.real:
        as_it_is = AsItIs(declared.name, declared.kind.numpy, compute)  # by far the most
        return Symbol(declared.name, declared.kind, as_it_is, rule.optype)

    def invalid(batch: Batch) -> Mask:
        _, _, found = _judged(*typed(batch.inputs[declared.name], declared.kind), declared)
        return full_mask(found, batch.count)

    left = invalid if rule.invalid == "asIs" else None
    # A value from outside has no place in the order of those declared.
    others = {rule.invalid_value, rule.missing_value} - {None, *declared.valid}
    optype = "categorical" if others and rule.optype == "ordinal" else rule.optype
    return Symbol(declared.name, declared.kind, compute, optype, 0, declared.valid, invalid=left)


def inherited(outer: Symbol, declared: DataField | None, rule: Treatment) -> Symbol:
    """A field of an outer model as an inner one treats it."""
    known = declared or DataField(outer.name, outer.kind, outer.optype)

    def compute(batch: Batch) -> Column:
        column = outer.column(batch) if rule.invalid == "asMissing" else outer.known(batch)
        return treated(batch, column, None, known, rule, True)

    return Symbol(
        outer.name,
        outer.kind,
        compute,
        rule.optype,
        outer.depth + 1,
        outer.categories,
        outer.strict and rule.missing_value is None,
        outer.invalid if rule.invalid == "asIs" else None,
    )


def treated(  # noqa: PLR0917
    batch: Batch, column: Column, unfit: Mask | None, declared: DataField, rule: Treatment, active: bool
) -> Column:
    """Invalid, missing and outlying values dealt with. `unfit`: rows that hold no value of the type."""
    values, missing, invalid = _judged(column, unfit, declared)
    if invalid is not None and invalid.any():
        values, missing = _settle_invalid(batch, values, missing, invalid, unfit, declared, rule, active)
    if rule.outliers != "asIs":
        values, missing = _settle_outliers(values, missing, invalid, rule, declared.kind)
    if missing is None or not missing.any():
        return Column(values)
    if rule.missing_value is not None:
        return fill(Column(values, missing), rule.missing_value)
    if rule.missing_is_invalid and active:
        batch.refuse(full_mask(missing, batch.count), f"the field {declared.name!r} is missing")
    return Column(values, missing)


def _judged(
    column: Column, unfit: Mask | None, declared: DataField
) -> tuple[NDArray[Any], Mask | None, Mask | None]:
    """The values, which of them are missing, and which are there and invalid."""
    values = column.values
    if values.dtype.kind == "f":
        nan = np.isnan(values)
        if nan.any():
            column = Column(np.where(nan, values.dtype.type(0), values), either(column.missing, nan))
            values = column.values
    missing = column.missing
    for value in declared.missing:
        missing = either(missing, values == value)
    invalid = either(unfit, _invalid(values, declared))
    if invalid is not None and missing is not None:
        invalid &= ~missing
    return values, missing, invalid


def _settle_outliers(
    values: Any, missing: Mask | None, invalid: Mask | None, rule: Treatment, kind: Type
) -> tuple[Any, Mask | None]:
    """Values outside the bounds dealt with; one that was invalid has had its treatment."""
    if rule.outliers == "asMissingValues":
        outside = (values < rule.low) | (values > rule.high)
        return values, either(missing, outside if invalid is None else outside & ~invalid)
    low, high = rule.low, rule.high
    if kind.whole:
        low, high = (int(min(max(v, -_BOUND), _BOUND - 1)) for v in (low, high))
    within = np.clip(values, low, high)
    return within if invalid is None else np.where(invalid, values, within), missing


def _settle_invalid(  # noqa: PLR0917
    batch: Batch, values: Any, missing: Mask | None, invalid: Mask, unfit: Mask | None, declared: DataField,
    rule: Treatment, active: bool,
) -> tuple[Any, Mask | None]:  # fmt: skip
    if rule.invalid == "returnInvalid":
        if active:
            batch.refuse(invalid, f"the field {declared.name!r} holds what the model declares invalid")
    elif rule.invalid == "asMissing":
        missing = either(missing, invalid)
    elif rule.invalid == "asValue":
        values = np.array(values)
        values[invalid] = rule.invalid_value
    elif unfit is not None and (unfit & invalid).any():  # asIs, and nothing of the type to take as it is
        batch.refuse(unfit & invalid, f"the field {declared.name!r} holds no {declared.kind.value}")
    return values, missing


def _invalid(values: Any, declared: DataField) -> Mask | None:
    """Rows whose value the dictionary declares invalid, or does not declare where it lists what is valid."""
    found: Mask | None = None
    for value in declared.invalid:
        found = either(found, values == value)
    if declared.valid or declared.intervals:
        if values.dtype == object:
            known = frozenset(declared.valid)
            valid = np.fromiter(map(known.__contains__, values), bool, len(values))
        else:
            valid = np.zeros(np.shape(values), bool)
            for value in declared.valid:
                valid |= values == value
            for one in declared.intervals:
                valid |= one.holds(values)
        found = either(found, ~valid)
    return found


def typed(raw: Column, kind: Type) -> tuple[Column, Mask | None]:
    """A record's column in the field's type, and the rows that hold no value of it."""
    source = _source(raw.values)
    # What is made of integers of 32 bits would wrap around.
    if source is Type.INTEGER and raw.values.itemsize < _INTEGER_BYTES:
        raw = Column(raw.values.astype(np.int64), raw.missing)
    values = raw.values
    if source is kind:
        return raw, None
    if kind is Type.STRING:
        if source is None:
            return raw, None
        return Column(np.full(len(values), "", object), raw.missing), np.ones(len(values), bool)
    if source is Type.STRING:
        done = cast(raw, source, kind)
    elif kind is Type.DATE and source is Type.INTEGER:  # days, as Avro and Parquet hold them
        low, high = reach(kind)
        beyond = (values < low) | (values > high)
        done = Column(np.where(beyond, 0, values), either(raw.missing, beyond))
    elif kind.temporal:
        return Column(np.zeros(len(values), np.int64), raw.missing), np.ones(len(values), bool)
    elif source is Type.DOUBLE and np.isnan(values).any():
        nan = np.isnan(values)
        done = cast(Column(np.where(nan, 0, values), either(raw.missing, nan)), source, kind)
        lost = either(done.missing)
        return Column(done.values, either(raw.missing, nan)), _lost(lost, either(raw.missing, nan))
    else:
        done = cast(raw, source or Type.DOUBLE, kind)
    return Column(done.values, raw.missing), _lost(done.missing, raw.missing)


def _lost(after: Mask | None, before: Mask | None) -> Mask | None:
    if after is None:
        return None
    lost = after if before is None else after & ~before
    return lost if lost.any() else None


def _source(values: np.ndarray) -> Type | None:
    if values.dtype == object:
        return Type.STRING
    if values.dtype == np.float32:
        return Type.FLOAT
    return {"f": Type.DOUBLE, "i": Type.INTEGER, "u": Type.INTEGER, "b": Type.BOOLEAN}.get(values.dtype.kind)
