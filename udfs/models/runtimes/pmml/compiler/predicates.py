"""Predicates, compiled to three-valued columns: true, false and (missing) unknown."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Column, Mask, either
from udfs.models.runtimes.pmml.compiler.elements import (
    PREDICATES,
    array_values,
    children,
    choice,
    describe,
    refuse,
    required,
    text_of,
    to_number,
)
from udfs.models.runtimes.pmml.compiler.functions_logic import COMPARISONS, conjoin, in_turn
from udfs.models.runtimes.pmml.compiler.scope import Scope
from udfs.models.runtimes.pmml.compiler.types import Type, constant, parse, whole_at

Truth = Callable[[Batch], Column]
UNARY = ("isMissing", "isNotMissing")
OPERATORS = (*COMPARISONS, *UNARY)
MAX_NESTING = 12
_EQUALITY = ("equal", "notEqual")
_NONE = 0.5  # equal to no integer


def is_always(element: ET.Element) -> bool:
    return element.tag == "True"


def compile_predicate(element: ET.Element, scope: Scope, level: int = 0) -> Truth:
    """The predicate as a function of the micro-batch."""
    if level > MAX_NESTING:
        refuse(f"predicates are nested more than {MAX_NESTING} deep")
    if element.tag in ("True", "False"):
        fixed = Column(np.array(element.tag == "True"))
        return lambda batch: fixed
    if element.tag == "CompoundPredicate":
        return _compound(element, scope, level)
    symbol = scope.find(element.get("field"))
    if element.tag == "SimpleSetPredicate":
        negated = choice(element, "booleanOperator", ("isIn", "isNotIn")) == "isNotIn"
        return _among(symbol, set_members(element, symbol.kind), negated)
    operator = choice(element, "operator", OPERATORS)
    if operator in UNARY:
        scope.reading.tolerant.add(symbol.name)
        return lambda batch: Column(symbol.column(batch).mask(batch.count) == (operator == "isMissing"))
    members = ordered_members(element, operator, symbol)
    if members is not None:
        return _among(symbol, members, negated=False)
    value, compare = comparand(element, operator, symbol.kind), COMPARISONS[operator]

    def ask(batch: Batch) -> Column:
        column = symbol.known(batch)
        return Column(np.asarray(compare(column.values, value), bool), column.missing)

    return ask


def _among(symbol: Symbol, members: Sequence[Any], negated: bool) -> Truth:
    def among(batch: Batch) -> Column:
        column = symbol.known(batch)
        found = np.zeros(np.shape(column.values), bool)
        for member in members:
            found |= column.values == member
        return Column(~found if negated else found, column.missing)

    return among


def ordered_members(element: ET.Element, operator: str, symbol: Symbol) -> list[Any] | None:
    """The values for which a SimplePredicate is true that asks for the order of an ordinal field, which is
    that of its declared values; None where it asks something else, or numbers that are declared as they
    ascend."""
    if symbol.optype != "ordinal" or operator in (*_EQUALITY, *UNARY) or not symbol.categories:
        return None
    listed, kind, what = list(symbol.categories), symbol.kind, describe(element)
    if kind not in (Type.STRING, Type.BOOLEAN):
        if listed != sorted(listed):
            refuse(f"{what} asks {operator!r} of values that are declared in another order than they ascend")
        return None
    if symbol.depth or symbol.invalid is not None:
        refuse(f"{what} asks {operator!r} of a field that may hold other values than those declared")
    value = constant(text_of(element, "value"), kind, what)
    if value not in listed:
        refuse(f"{what} asks {operator!r} for {value!r}, which is none of the field's declared values")
    at = listed.index(value)
    return [one for k, one in enumerate(listed) if COMPARISONS[operator](k, at)]


def comparand(element: ET.Element, operator: str, kind: Type) -> object:
    """The constant of a SimplePredicate, in the field's type. Of an integer field, and of a boolean one
    that is compared with a number, it is an integer, which may be beyond 64 bits; `_NONE` where a fraction
    is to be equal."""
    if operator not in _EQUALITY and kind is Type.STRING:
        refuse(f"{describe(element)} asks {operator!r} of a {kind.value}")
    said = text_of(element, "value")
    what = describe(element)
    if kind.real and operator not in _EQUALITY and math.isinf(to_number(said)):
        return to_number(said)  # LightGBM parts what is there from what is missing so
    # R's rpart asks a boolean whether it is less than 0.5.
    if (kind.whole or (kind is Type.BOOLEAN and operator not in _EQUALITY)) and parse(said, kind) is None:
        constant(said, Type.DOUBLE, what)
        value, exact = whole_at(said, up=operator in ("lessThan", "greaterOrEqual"))
        return value if exact or operator not in _EQUALITY else _NONE
    return constant(said, kind, what)


def set_members(element: ET.Element, kind: Type) -> list:
    array = required(element, "Array")
    if len(element) > 1:
        refuse(f"{describe(element)} holds more than one Array")
    return [constant(v, kind, describe(element)) for v in array_values(array)]


def _compound(element: ET.Element, scope: Scope, level: int) -> Truth:
    operator = choice(element, "booleanOperator", ("and", "or", "xor", "surrogate"))
    parts = [compile_predicate(e, scope, level + 1) for e in children(element, PREDICATES)]
    if not parts:
        refuse("a CompoundPredicate holds no predicate")
    fields = {name for e in element.iter() if (name := e.get("field"))}
    if operator in ("and", "or"):
        if any(symbol.depth for symbol in map(scope.find, fields)):  # only these can be undefined
            return lambda batch: in_turn(batch, parts, operator == "or")
        return lambda batch: conjoin([part(batch) for part in parts], operator == "or")
    if operator == "xor":

        def parity(batch: Batch) -> Column:
            columns = [part(batch) for part in parts]
            odd = np.asarray(columns[0].values)
            for column in columns[1:]:
                odd = odd ^ column.values
            return Column(np.asarray(odd), either(*(c.missing for c in columns)))

        return parity
    scope.reading.tolerant |= fields

    def first_known(batch: Batch) -> Column:
        column = parts[0](batch)
        for part in parts[1:]:
            if column.missing is None or not column.missing.any():
                break
            following = part(batch)
            values = np.where(column.missing, following.values, column.values)
            missing = None if following.missing is None else column.missing & following.missing
            column = Column(values, missing)
        return column

    return first_known


def holds(truth: Truth, batch: Batch) -> Mask:
    """The rows where a predicate is true, as `(n,)`."""
    column = truth(batch)
    found = np.broadcast_to(column.values, (batch.count,))
    return np.array(found) if column.missing is None else found & ~column.missing
