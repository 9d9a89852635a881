"""Functions of dates and times. A date is a number of days, a date with time one of seconds, since 1970."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.elements import refuse
from udfs.models.runtimes.pmml.compiler.expressions import Expression, Site, converted
from udfs.models.runtimes.pmml.compiler.functions import argument_count, constant_argument, function
from udfs.models.runtimes.pmml.compiler.functions_text import mapped
from udfs.models.runtimes.pmml.compiler.types import STARTS, Type, date_of, datetime_of

_DAY = 86_400


@function("dateDaysSinceYear", "dateSecondsSinceYear")
def _since_year(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2, 2)
    said = constant_argument(given[1], f"the year of {name!r}")
    if not said.strip().isdecimal() or not 1 <= int(said) <= 9999:
        refuse(f"the year of {name!r} is {said!r}")
    start = (date(int(said), 1, 1) - date(1970, 1, 1)).days
    inner, source = _dated(name, given[0])
    days = name == "dateDaysSinceYear"

    def compute(batch: Batch) -> Column:
        column = inner(batch)
        if source is Type.DATE:
            since = column.values - start
            return Column(since if days else since * _DAY, column.missing)
        since = column.values - start * _DAY
        return Column(since // _DAY if days else since, column.missing)

    return Expression(Type.INTEGER, compute, strict=True)


@function("dateSecondsSinceMidnight")
def _since_midnight(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 1, 1)
    if given[0].kind in (Type.TIME, Type.TIME_SECONDS):
        return Expression(Type.INTEGER, given[0].compute)
    inner, source = _dated(name, given[0])

    def compute(batch: Batch) -> Column:
        column = inner(batch)
        return Column(
            np.zeros_like(column.values) if source is Type.DATE else column.values % _DAY, column.missing
        )

    return Expression(Type.INTEGER, compute, strict=True)


def _dated(name: str, given: Expression) -> tuple:
    if given.kind is Type.STRING:
        given = converted(given, Type.DATE_TIME, name)
    if given.kind in STARTS:
        given = converted(given, STARTS[given.kind][0], name)
    if given.kind not in (Type.DATE, Type.DATE_TIME):
        refuse(f"the function {name!r} is given a {given.kind.value}")
    return given.compute, given.kind


@function("formatDatetime")
def _format_date(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2, 2)
    said = constant_argument(given[1], f"the pattern of {name!r}")
    kind = given[0].kind
    at = converted(given[0], STARTS[kind][0], name) if kind in STARTS else given[0]
    known = {Type.DATE: "Ymdyj", Type.DATE_TIME: "YmdyjHMS", Type.TIME: "HMS"}.get(at.kind)
    if known is None or re.sub(f"%[{known}]", "", said).count("%"):
        refuse(f"the pattern {said!r} of {name!r} is not known for a {kind.value}")
    moment_of = date_of if at.kind is Type.DATE else datetime_of

    def written(number: int) -> str:
        when = moment_of(number)
        return when.strftime(said.replace("%Y", f"{when.year:04}"))  # else short where the year is

    return mapped(name, [at], written)
