"""Expressions of transformations, compiled to functions from a micro-batch to a column."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute, Rows, Symbol, full_mask
from udfs.models.runtimes.pmml.compiler.columns import Column, cast, constant_column, either, fill
from udfs.models.runtimes.pmml.compiler.elements import describe, expression_of, flag, refuse, text_of
from udfs.models.runtimes.pmml.compiler.scope import MAX_DEPTH, Scope
from udfs.models.runtimes.pmml.compiler.types import (
    STARTS,
    Type,
    constant,
    converts,
    parse,
    reach,
    shift,
    texts,
    type_named,
)

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `constant`: its value where it is one, and the text that it was written as;
    `untyped`: its type was told from that text.

    `reads`: the names it reads; `depth`: how deep those rest on others; `strict`, `invalid`: see `Symbol`.
    """

    kind: Type
    compute: Compute
    reads: frozenset[str] = frozenset()
    depth: int = 0
    constant: Any = _ABSENT
    text: str = ""
    untyped: bool = False
    strict: bool = False
    invalid: Rows | None = None

    @property
    def is_constant(self) -> bool:
        return self.constant is not _ABSENT


@dataclass(slots=True)
class Site:
    """Where an expression stands: its scope, how deep it is nested, and the type wanted of it, if any."""

    scope: Scope
    level: int = 0
    wanted: Type | None = None

    def inner(self, wanted: Type | None = None) -> Site:
        return replace(self, level=self.level + 1, wanted=wanted)


Compiler = Callable[[ET.Element, Site], Expression]
COMPILERS: dict[str, Compiler] = {}


def compiles(tag: str) -> Callable[[Compiler], Compiler]:
    def register(compiler: Compiler) -> Compiler:
        COMPILERS[tag] = compiler
        return compiler

    return register


def compile_expression(element: ET.Element, site: Site) -> Expression:
    """The compiled expression. Refused where its kind is not known, or it is nested too deeply."""
    if site.level > MAX_DEPTH:
        refuse(f"an expression is nested more than {MAX_DEPTH} deep")
    from udfs.models.runtimes.pmml.compiler import text_index, transformations  # noqa: F401, PLC0415

    compiler = COMPILERS.get(element.tag)
    if compiler is None:
        refuse(f"the expression {element.tag!r} is not known")
    return compiler(element, site)


def derive(element: ET.Element, scope: Scope) -> Symbol:
    """A DerivedField as a symbol of `scope`."""
    name = text_of(element, "name")
    named = element.get("dataType", element.get("datatype"))  # as RapidMiner writes it
    kind = type_named(named, f"the derived field {name!r}")
    made = converted(compile_expression(expression_of(element), Site(scope, wanted=kind)), kind, name)
    scope.reading.rests_on.setdefault(name, set()).update(made.reads)
    declared = tuple(
        v for v in (parse(e.get("value", ""), kind) for e in element.findall("Value")) if v is not None
    )
    return Symbol(name, kind, made.compute, element.get("optype", ""), made.depth + 1, declared, made.strict)


def converted(made: Expression, kind: Type, what: str) -> Expression:
    """The expression in another type. A value that does not fit it refuses its row."""
    if made.kind is kind:
        return made
    counted = made.kind in STARTS or kind in STARTS
    if counted and not converts(made.kind, kind):
        refuse(f"{what!r} makes a {kind.value} of a {made.kind.value}")
    if made.is_constant:
        if made.constant is None:
            return missing_constant(kind)
        if made.kind in STARTS:  # its text may count from another start
            number = made.constant + shift(made.kind, kind)
            low, high = reach(kind)
            if not low <= number <= high:
                refuse(f"{made.text!r} of {what!r} is no {kind.value}")
            said = texts(np.array(number), kind).item() if kind.temporal else str(number)
            return constant_of(kind.numpy.type(number) if kind.real else number, kind, said)
        if made.kind is Type.FLOAT and kind is Type.DOUBLE:
            return constant_of(np.float64(made.constant), kind, made.text)  # as it was rounded
        return constant_of(constant(made.text, kind, what), kind, made.text)
    if kind is Type.STRING and made.kind not in (Type.INTEGER, Type.BOOLEAN):
        refuse(f"{what!r} writes a {made.kind.value} as text, which each program does in its own way")
    if (kind.temporal or made.kind.temporal) and not converts(made.kind, kind):
        refuse(f"{what!r} makes a {kind.value} of a {made.kind.value}")
    compute, source = made.compute, made.kind

    def convert(batch: Batch) -> Column:
        before = compute(batch)
        after = cast(before, source, kind)
        if after.missing is not before.missing and after.missing is not None:
            lost = full_mask(after.missing, batch.count) & ~full_mask(before.missing, batch.count)
            batch.refuse(lost, f"{what!r} is no {kind.value}")
        return after

    return replace(made, kind=kind, compute=convert)


def constant_of(value: Any, kind: Type, text: str) -> Expression:
    column = constant_column(value, kind)
    return Expression(kind, lambda batch: column, constant=value, text=text)


def missing_constant(kind: Type) -> Expression:
    return constant_of(None, kind, "")


def with_missing_as(made: Expression, said: str | None, what: str, site: Site) -> Expression:
    """Missing results replaced by the constant `said`, if there is one."""
    if said is None:
        return made
    site.scope.reading.tolerant |= made.reads
    value, compute = constant(said, made.kind, what), made.compute
    return replace(made, compute=lambda batch: fill(compute(batch), value), strict=False)


@compiles("Constant")
def _constant(element: ET.Element, site: Site) -> Expression:
    text = element.text or ""
    named = element.get("dataType")
    calls = site.scope.calls
    if named is None and calls and calls[-1].startswith("SAS-") and site.scope.has(text):
        return read(site.scope.find(text))  # SAS writes references to the arguments of its functions so
    kind = type_named(named, "a Constant") if named is not None else _inferred(text)
    if flag(element, "missing", False):
        return missing_constant(site.wanted or kind)
    return replace(constant_of(constant(text, kind, "a Constant"), kind, text), untyped=named is None)


def _inferred(text: str) -> Type:
    kinds = (Type.INTEGER, Type.DOUBLE) if text.strip() not in ("true", "false") else (Type.BOOLEAN,)
    if not text.strip().lstrip("+-").isdecimal():  # 2.0 and 1e3 are whole and no integers
        kinds = kinds[-1:]
    return next((k for k in kinds if parse(text, k) is not None), Type.STRING)


@compiles("FieldRef")
def _field_ref(element: ET.Element, site: Site) -> Expression:
    symbol = site.scope.find(element.get("field"))
    made = read(symbol)
    return with_missing_as(made, element.get("mapMissingTo"), describe(element), site)


def read(symbol: Symbol) -> Expression:
    """The symbol as an expression; an argument that is a constant stays one."""
    given = getattr(symbol, "given", None)
    if given is not None and given.is_constant:
        return given
    return Expression(
        symbol.kind, symbol.column, frozenset({symbol.name}), symbol.depth, strict=symbol.strict,
        invalid=symbol.invalid,
    )  # fmt: skip


class _ForOneCall:
    """Computes once what is asked for twice, by the function and for what is missing: else each level of
    nested calls would take twice as long as the one inside it."""

    __slots__ = ("compute",)

    def __init__(self, compute: Compute) -> None:
        self.compute = compute

    def __call__(self, batch: Batch) -> Column:
        if batch.partial or batch.caused:
            return batch.once(self, self.compute)
        found = batch.memory.get(id(self))
        if found is None:
            found = batch.memory[id(self)] = self.compute(batch)
        return found


@compiles("Apply")
def _apply(element: ET.Element, site: Site) -> Expression:
    from udfs.models.runtimes.pmml.compiler.functions import call  # noqa: PLC0415 - they call each other

    name = text_of(element, "function")
    arguments = [compile_expression(e, site.inner()) for e in element if e.tag not in ("Extension",)]
    mapped, default = element.get("mapMissingTo"), element.get("defaultValue")
    if mapped is not None:
        arguments = [a if a.is_constant else replace(a, compute=_ForOneCall(a.compute)) for a in arguments]
    made = call(name, arguments, site)
    treatment = element.get("invalidValueTreatment", "returnInvalid")
    if treatment not in ("returnInvalid", "asIs", "asMissing"):
        refuse(f"invalidValueTreatment={treatment!r} of {describe(element)} is not known")
    if treatment == "asMissing" and made.kind.real:
        made = _nan_as_missing(made)
    reads = made.reads.union(*(a.reads for a in arguments))
    depth = max([made.depth, *(a.depth for a in arguments)])
    strict = made.strict or any(a.strict for a in arguments)
    made = replace(made, reads=reads, depth=depth, strict=strict)
    if mapped is None and default is None:
        return made
    site.scope.reading.tolerant |= made.reads
    what = describe(element)
    mapped_value = None if mapped is None else constant(mapped, made.kind, what)
    default_value = None if default is None else constant(default, made.kind, what)
    inputs, compute = [a.compute for a in arguments], made.compute

    def mend(batch: Batch) -> Column:
        result = compute(batch)
        absent = None if mapped_value is None else either(*(one(batch).missing for one in inputs))
        if mapped_value is not None and absent is not None and absent.any():
            values = np.array(
                np.broadcast_to(result.values, np.broadcast_shapes(np.shape(result.values), np.shape(absent)))
            )
            values[absent] = mapped_value
            missing = None if result.missing is None else result.missing & ~absent
            result = Column(values, missing)
        if default_value is not None:
            result = fill(result, default_value)
        return result

    return replace(made, compute=mend, strict=False)


def _nan_as_missing(made: Expression) -> Expression:
    compute = made.compute

    def treat(batch: Batch) -> Column:
        column = compute(batch)
        unfit = ~np.isfinite(column.values)
        return (
            Column(np.where(unfit, 0, column.values), either(column.missing, unfit))
            if unfit.any()
            else column
        )

    return replace(made, compute=treat)
