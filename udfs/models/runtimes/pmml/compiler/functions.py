"""Calls of functions in expressions: those that a document defines, and the standard's own by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute, Symbol, undefined_rows
from udfs.models.runtimes.pmml.compiler.columns import Column, Mask, any_missing
from udfs.models.runtimes.pmml.compiler.elements import expression_of, refuse, text_of
from udfs.models.runtimes.pmml.compiler.expressions import Expression, Site, compile_expression, converted
from udfs.models.runtimes.pmml.compiler.scope import Scope
from udfs.models.runtimes.pmml.compiler.types import STARTS, Type, type_named

Function = Callable[[str, Sequence[Expression], Site], Expression]
FUNCTIONS: dict[str, Function] = {}
MAX_CALLS = 20_000
"""How many calls of a document's own functions a plan may hold; each is compiled anew with its arguments."""


def function(*names: str) -> Callable[[Function], Function]:
    def register(made: Function) -> Function:
        for name in names:
            FUNCTIONS[name] = made
        return made

    return register


def tolerate(arguments: Sequence[Expression], site: Site) -> None:
    """There is a rule for what is missing where there is another argument."""
    if len(arguments) > 1:
        site.scope.reading.tolerant |= frozenset().union(*(a.reads for a in arguments))


def absences(columns: Sequence[Column], strict: Sequence[bool], count: int) -> tuple[Any, Mask | None]:
    """Where each is missing, `(columns, n)`, and where the whole is: where all are, or a function had no
    result. None for both where nothing is missing."""
    if any_missing(columns) is None:
        return None, None
    absent = np.array([c.mask(count) for c in columns])
    return absent, absent.all(axis=0) | absent[strict].any(axis=0)


def call(name: str, arguments: Sequence[Expression], site: Site) -> Expression:
    """A call of a function with compiled arguments. A document's function hides the standard's."""
    from udfs.models.runtimes.pmml.compiler import (  # noqa: F401, PLC0415 - they register their functions
        functions_arithmetic,
        functions_dates,
        functions_logic,
        functions_text,
    )  # fmt: skip

    if name in site.scope.functions:
        return _defined(name, arguments, site)
    known = name.removeprefix("x-")  # so were functions written before the standard had them
    made = FUNCTIONS.get(known)
    if made is None:
        refuse(f"the function {name!r} is not known")
    return made(known, arguments, site)


def _defined(name: str, arguments: Sequence[Expression], site: Site) -> Expression:
    element = site.scope.functions[name]
    if name in site.scope.calls:
        refuse(f"the function {name!r} calls itself")
    site.scope.reading.calls += 1
    if site.scope.reading.calls > MAX_CALLS:
        refuse(f"the document calls its own functions more than {MAX_CALLS} times")
    parameters = element.findall("ParameterField")
    if len(parameters) != len(arguments):
        refuse(f"the function {name!r} takes {len(parameters)} arguments and is given {len(arguments)}")
    top = site.scope.top()
    inside = Scope(None, top.derive, site.scope.reading, site.scope.functions)
    inside.calls = (*site.scope.calls, name)
    for parameter, argument in zip(parameters, arguments, strict=True):
        named = parameter.get("dataType")
        given = argument
        if named is not None:
            given = converted(argument, type_named(named, f"a parameter of {name!r}"), name)
        inside.add(_Parameter(text_of(parameter, "name"), given))
    result = element.get("dataType")
    wanted = None if result is None else type_named(result, f"the function {name!r}")
    reading = site.scope.reading
    around, reading.tolerant = reading.tolerant, set()  # a parameter may be called as a field is
    body = compile_expression(expression_of(element), replace(site.inner(wanted), scope=inside))
    made = body if wanted is None else converted(body, wanted, name)
    names = {text_of(p, "name") for p in parameters}
    mended, reading.tolerant = reading.tolerant, around
    if names & mended:  # the body has a rule for a missing argument
        reading.tolerant |= frozenset().union(*(a.reads for a in arguments))
    return replace(made, reads=frozenset().union(*(a.reads for a in arguments)))


class _Parameter(Symbol):
    """An argument by the name of its parameter."""

    __slots__ = ("given",)

    def __init__(self, name: str, given: Expression) -> None:
        super().__init__(
            name,
            given.kind,
            given.compute,
            "",
            max(given.depth, 1),
            strict=given.strict,
            invalid=given.invalid,
        )
        self.given = given


def settled(argument: Expression, name: str) -> Compute:
    """An argument of a function that would hide that it is undefined (NaN): its row is refused."""
    owner, compute = getattr(argument.compute, "__self__", None), argument.compute
    if not argument.kind.real or argument.is_constant:
        return compute
    if isinstance(owner, Symbol):
        return owner.known

    def known(batch: Batch) -> Column:
        column = compute(batch)
        if (lost := undefined_rows(column, batch.count)) is not None:
            batch.refuse(lost, f"an argument of {name!r} has no value")
        return column

    return known


def constant_argument(argument: Expression, what: str) -> str:
    """The text of an argument that must be a constant, by itself or as a parameter."""
    if not argument.is_constant or argument.constant is None:
        refuse(f"{what} must be a constant")
    return argument.text


def argument_count(name: str, arguments: Sequence[Expression], least: int, most: int | None = None) -> None:
    if len(arguments) < least or (most is not None and len(arguments) > most):
        refuse(f"the function {name!r} is given {len(arguments)} arguments")


def numeric_arguments(name: str, arguments: Sequence[Expression]) -> list[Expression]:
    """Numbers as they are, flags and what counts days or seconds as integers; anything else is refused."""
    counted = {a.kind for a in arguments if a.kind in STARTS}
    if len(counted) > 1:
        refuse(
            f"the function {name!r} is given {' and '.join(sorted(counted))}, which start at different times"
        )
    made = [
        converted(a, Type.INTEGER, name) if a.kind is Type.BOOLEAN or a.kind in STARTS else a
        for a in arguments
    ]
    for one in made:
        if not one.kind.numeric:
            refuse(f"the function {name!r} is given a {one.kind.value}")
    return made


def common_kind(arguments: Sequence[Expression]) -> Type:
    """The type that numbers are computed in: double over float over integer."""
    kinds = {a.kind for a in arguments}
    return next(k for k in (Type.DOUBLE, Type.FLOAT, Type.INTEGER) if k in kinds)
