"""ModelVerification: rows with results that the exporter wrote into the document, held against the plan's."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.elements import local, number, refuse, required, table_rows, text_of
from udfs.models.runtimes.pmml.compiler.fields import DataField
from udfs.models.runtimes.pmml.compiler.plan import Plan
from udfs.models.runtimes.pmml.compiler.types import STARTS, Type, parse
from udfs.models.runtimes.pmml.compiler.types import texts as written

_MAX_ROWS = 10_000
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    column: str
    precision: float
    zero: float


@dataclass(frozen=True, slots=True)
class Verification:
    """The rows of a document: cells by column name, and the fields that they are of."""

    fields: tuple[_Field, ...]
    rows: tuple[dict[str, str], ...]

    def texts(self, name: str) -> list[str | None] | None:
        """What the rows hold of a field, None where one lacks it; None where no column is of that field."""
        found = [f for f in self.fields if f.name == name]
        return [row.get(found[0].column) for row in self.rows] if found else None


def verification(model: ET.Element) -> Verification | None:
    """The ModelVerification of a model, if it has one. Refused where a model inside has one too, or there are
    more rows than are run."""
    element = model.find("ModelVerification")
    if any(inner is not element for inner in model.iter("ModelVerification")):
        refuse("a model inside another has a ModelVerification of its own; export without")
    if element is None:
        return None
    fields = tuple(
        _Field(
            text_of(f, "field"), local(f.get("column") or text_of(f, "field")),
            number(f, "precision", 1e-6), number(f, "zeroThreshold", 1e-16),
        )
        for f in required(element, "VerificationFields").findall("VerificationField")
    )  # fmt: skip
    table = required(element, "InlineTable")
    if len(table.findall("row")) > _MAX_ROWS:
        refuse(f"the model's verification has more than {_MAX_ROWS} rows; export it with fewer")
    rows = tuple(table_rows(table))
    return Verification(fields, rows) if rows else None


Results = Callable[[str], Sequence[Any] | None]
"""What a model gives under a name, a value a row and None where it gives nothing; None: no such result."""


def differences(
    told: Verification, names: Iterable[str], results: Results, kinds: Mapping[str | None, Type] | None = None
) -> list[str]:
    """Sentences on where the results under `names` are others than the rows say; none if all agree.

    A result is compared by the document's tolerances, one of a moment (by `kinds`, the types of the results)
    as such, however it is written. Refused where none can be compared.
    """
    wanted = set(names)
    found: list[str] = []
    compared = 0
    for field in told.fields:
        values = results(field.name) if field.name in wanted else None
        texts = told.texts(field.name)
        if values is None or texts is None:
            continue
        for row, (said, value) in enumerate(zip(texts, values, strict=True)):
            if said is None or said == "":
                continue
            compared += 1
            kind = None if kinds is None else kinds.get(field.name)
            if value is None or not _alike(said, value, field, kind):
                got = "nothing" if value is None else repr(value)
                found.append(f"row {row + 1}: {field.name} is {said}, the model gives {got}")
    if not compared:
        refuse("the model's verification compares no result that the model gives")
    return found


def contradictions(plan: Plan, told: Verification) -> list[str]:
    """Sentences on where the plan says something else than the document's own rows; none if it agrees."""
    count = len(told.rows)
    inputs = {i.declared.name: _input(i.declared, told.texts(i.declared.name), count) for i in plan.inputs}
    scores = plan.score(inputs, count)
    refused = np.zeros(count, bool)
    for rows in scores.refused.values():
        refused |= rows

    def results(name: str) -> list[Any] | None:
        column = _result(plan, scores.columns, name)
        if column is None:
            return None
        missing = column.mask(count) | refused
        return [None if none else v for v, none in zip(column.full(count), missing, strict=True)]

    kinds = {name: o.symbol.kind for o in plan.outputs for name in (o.target, o.symbol.name)}
    targets = {o.target for o in plan.outputs}  # an observed target stands for both
    names = [f.name for f in told.fields if f.name not in inputs or f.name in targets]
    return differences(told, names, results, kinds)


def check(plan: Plan, model: ET.Element) -> bool:
    """Whether the document verifies itself. Refused where its own rows contradict the plan."""
    told = verification(model)
    if told is None:
        return False
    if any(field.many for field in plan.inputs):
        refuse("the model reads a list, which no row of its verification can hold; export it without")
    refuse_contradicted(contradictions(plan, told), "the model contradicts its own verification")
    return True


def refuse_contradicted(found: Sequence[str], what: str) -> None:
    """Refuse where there are `differences`, with the first of them."""
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        refuse(f"{what}: {'; '.join(found[:_SHOWN])}{more}")


def given(declared: DataField, told: Verification) -> list[Any]:
    """What the rows hold of an input, None where it is missing."""
    count = len(told.rows)
    column = _input(declared, told.texts(declared.name), count)
    return [None if none else v for v, none in zip(column.values.tolist(), column.mask(count), strict=True)]


def _result(plan: Plan, columns: dict[str, Column], name: str) -> Column | None:
    for output in plan.outputs:
        if name in (output.symbol.name, output.target):
            column = columns[output.symbol.name]
            temporal = output.symbol.kind.temporal
            return Column(written(column.values, output.symbol.kind), column.missing) if temporal else column
    return None


def _input(declared: DataField, texts: list[str | None] | None, count: int) -> Column:
    texts = texts if texts is not None else [None] * count
    given = [None if t is None or t == "" else _cell(t, declared) for t in texts]
    missing = np.array([v is None for v in given])
    values: NDArray[Any] = np.empty(count, _read_as(declared.kind).numpy)
    values[:] = [("" if values.dtype == object else 0) if v is None else v for v in given]
    return Column(values, missing if missing.any() else None)


def _cell(text: str, declared: DataField) -> Any:
    """The value that a cell says, None where that is a missing one.

    Refused where it is no value of the field: taken for a missing one, the row would prove something else.
    """
    value = parse(text, _read_as(declared.kind))
    if value is None and text.strip() not in ("NaN", *declared.missing_texts):
        kind = declared.kind.value
        refuse(f"the model's verification holds {text!r} for {declared.name!r}, which is no {kind}")
    return value


def _read_as(kind: Type) -> Type:
    """Dates come as texts, as they do in records."""
    return Type.STRING if kind.temporal or kind in STARTS else kind


def _alike(said: str, got: Any, field: _Field, kind: Type | None) -> bool:
    if isinstance(got, str):
        return said == got or (kind is not None and kind.temporal and parse(said, kind) == parse(got, kind))
    if isinstance(got, (bool, np.bool_)):
        return parse(said, Type.BOOLEAN) == bool(got)
    wanted = parse(said, kind) if kind in STARTS else None
    if wanted is None:
        wanted = parse(said, Type.DOUBLE)
    if wanted is None:
        return False
    value = float(got)
    if abs(wanted) <= field.zero and abs(value) <= field.zero:
        return True
    return bool(abs(wanted - value) <= field.precision * abs(wanted))
