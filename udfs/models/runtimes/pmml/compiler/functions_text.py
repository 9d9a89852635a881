"""Functions of texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import Column, any_missing
from udfs.models.runtimes.pmml.compiler.elements import refuse
from udfs.models.runtimes.pmml.compiler.expressions import Expression, Site, converted
from udfs.models.runtimes.pmml.compiler.functions import (
    absences,
    argument_count,
    constant_argument,
    function,
    numeric_arguments,
    settled,
    tolerate,
)
from udfs.models.runtimes.pmml.compiler.patterns import bound, pattern, replacement
from udfs.models.runtimes.pmml.compiler.types import Type

_CONVERSION = re.compile(r"(?:[^%]|%%)*%[-+ 0]*\d{0,2}(?:\.\d{1,2})?([df])(?:[^%]|%%)*")


def _joined(*parts: str) -> str:
    bound(sum(map(len, parts)))
    return "".join(parts)


def _as_texts(name: str, given: Sequence[Expression]) -> list[Expression]:
    return [converted(a, Type.STRING, name) for a in given]


def mapped(
    name: str, given: Sequence[Expression], each: Callable[..., object], kind: Type = Type.STRING
) -> Expression:
    computes = [a.compute for a in given]

    def compute(batch: Batch) -> Column:
        columns = [one(batch) for one in computes]
        lists = [c.full(batch.count).tolist() for c in columns]
        values = np.empty(batch.count, kind.numpy)
        values[:] = [each(*row) for row in zip(*lists, strict=True)]
        return Column(values, any_missing(columns))

    return Expression(kind, compute, strict=True)


@function("uppercase", "lowercase", "trimBlanks")
def _shaped(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 1, 1)
    shapes: dict[str, Callable[[str], str]] = {
        "uppercase": str.upper, "lowercase": str.lower, "trimBlanks": str.strip,
    }  # fmt: skip
    shape = shapes[name]
    return mapped(name, _as_texts(name, given), shape)


@function("concat")
def _concat(name: str, given: Sequence[Expression], site: Site) -> Expression:
    """What is missing is left out; missing where all is, or where a function had no result."""
    argument_count(name, given, 1)
    arguments = _as_texts(name, given)
    tolerate(arguments, site)
    computes, strict = [a.compute for a in arguments], [a.strict for a in arguments]

    def compute(batch: Batch) -> Column:
        columns = [one(batch) for one in computes]
        absent, lost = absences(columns, strict, batch.count)
        texts = [c.full(batch.count) for c in columns]
        if absent is not None:
            texts = [np.where(gone, "", text) for gone, text in zip(absent, texts, strict=True)]
        values = np.empty(batch.count, object)
        values[:] = [_joined(*row) for row in zip(*(t.tolist() for t in texts), strict=True)]
        return Column(values, lost if lost is not None and lost.any() else None)

    return Expression(Type.STRING, compute)


@function("stringLength")
def _length(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 1, 1)
    return mapped(name, _as_texts(name, given), len, Type.INTEGER)


@function("substring")
def _substring(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 3, 3)
    start, size = (converted(a, Type.INTEGER, name) for a in given[1:])
    for one in (start, size):
        if one.is_constant and one.constant is not None and one.constant < (1 if one is start else 0):
            refuse("a substring begins before its text or has a negative length")
    text, *_ = _as_texts(name, given[:1])

    def cut(value: str, at: int, length: int) -> str:
        return value[at - 1 : at - 1 + length] if at >= 1 and length >= 0 else ""

    made = mapped(name, (text, start, size), cut)
    if start.is_constant and size.is_constant:
        return made

    def compute(batch: Batch) -> Column:
        column = made.compute(batch)
        wrong = np.broadcast_to(
            (start.compute(batch).values < 1) | (size.compute(batch).values < 0), (batch.count,)
        )
        there = ~column.mask(batch.count)
        batch.refuse(wrong & there, f"{name!r} begins before its text or has a negative length")
        return column

    return replace(made, compute=compute)


@function("matches", "replace")
def _regular(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2 if name == "matches" else 3, 2 if name == "matches" else 3)
    (text,) = _as_texts(name, given[:1])
    found = pattern(constant_argument(given[1], f"the pattern of {name!r}"), name)
    if name == "matches":
        return mapped(name, (text,), found.found_in, Type.BOOLEAN)
    by = replacement(constant_argument(given[2], "the replacement of 'replace'"), found, name)
    return mapped(name, (text,), lambda v: found.replaced(by, v))


@function("formatNumber")
def _format_number(name: str, given: Sequence[Expression], site: Site) -> Expression:
    """By a pattern of printf with one conversion: `d` of an integer, `f` of a real."""
    argument_count(name, given, 2, 2)
    said = constant_argument(given[1], f"the pattern of {name!r}")
    found = _CONVERSION.fullmatch(said)
    (number,) = numeric_arguments(name, given[:1])
    if found is None or (found[1] == "d") != (number.kind is Type.INTEGER):
        refuse(f"the pattern {said!r} of {name!r} is not known for a {given[0].kind.value}")
    known = replace(number, compute=settled(number, name))
    return mapped(name, [known], lambda value: said % value)
