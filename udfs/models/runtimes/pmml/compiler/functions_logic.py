"""Comparisons, logic and `if` of the standard, in three values: true, false and missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute, full_mask
from udfs.models.runtimes.pmml.compiler.columns import Column, Mask, any_missing, either
from udfs.models.runtimes.pmml.compiler.elements import refusal, refuse
from udfs.models.runtimes.pmml.compiler.expressions import (
    Expression,
    Site,
    constant_of,
    converted,
    missing_constant,
)
from udfs.models.runtimes.pmml.compiler.functions import (
    argument_count,
    common_kind,
    function,
    numeric_arguments,
    settled,
)
from udfs.models.runtimes.pmml.compiler.types import STARTS, Type

_BOUND = 2**63

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "equal": lambda a, b: a == b, "notEqual": lambda a, b: a != b, "lessThan": lambda a, b: a < b,
    "lessOrEqual": lambda a, b: a <= b, "greaterThan": lambda a, b: a > b,
    "greaterOrEqual": lambda a, b: a >= b,
}  # fmt: skip


def alike(name: str, arguments: Sequence[Expression]) -> list[Expression]:
    """Arguments that can be compared: constants in the type of the others, numbers in their common type."""
    kinds = {a.kind for a in arguments if not a.untyped} or {a.kind for a in arguments}
    varying = {a.kind for a in arguments if not a.is_constant}
    counted = next((a.kind for a in arguments if a.kind in STARTS), None)
    if counted is not None and any(a.kind.real for a in arguments):
        return numeric_arguments(name, arguments)  # a fraction is none of a counted type
    if counted is not None and Type.STRING not in varying:
        kind = counted
    elif len(kinds) == 1:
        (kind,) = kinds
        if kind is Type.INTEGER and any(a.is_constant and a.kind.real for a in arguments):
            kind = Type.DOUBLE  # an integer field is compared with a fraction
    elif all(k.numeric for k in kinds):
        kind = common_kind([a for a in arguments if a.kind in kinds])
    elif len(varying) == 1:
        (kind,) = varying  # constants are read in the type of what they are compared with
    else:
        refuse(f"the function {name!r} is given {' and '.join(sorted(k.value for k in kinds))}")
    made = [converted(a, kind, name) for a in arguments]
    return [_beyond(a) for a in made] if varying == {Type.INTEGER} else made


def _beyond(one: Expression) -> Expression:
    """A constant beyond 64 bits as infinite: as doubles the greatest integers are no less than 2^63."""
    value = one.constant if one.is_constant else None
    if value is None or one.kind is not Type.DOUBLE or -_BOUND <= value < _BOUND:
        return one
    return constant_of(np.float64(math.copysign(math.inf, value)), one.kind, one.text)


@function(*COMPARISONS)
def _compare(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2, 2)
    first, second = alike(name, given)
    if first.kind is Type.STRING and name not in ("equal", "notEqual"):
        refuse(f"the function {name!r} compares texts")
    a_of, b_of, operation = settled(first, name), settled(second, name), COMPARISONS[name]

    def compute(batch: Batch) -> Column:
        a, b = a_of(batch), b_of(batch)
        return Column(np.asarray(operation(a.values, b.values), bool), any_missing((a, b)))

    return Expression(Type.BOOLEAN, compute, strict=True)


@function("isIn", "isNotIn")
def _is_in(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2)
    computes = [settled(a, name) for a in alike(name, given)]

    def compute(batch: Batch) -> Column:
        value, *others = [one(batch) for one in computes]
        found = np.zeros(np.shape(value.values), bool)
        for other in others:
            hit = np.asarray(value.values == other.values, bool)
            found = found | (hit if other.missing is None else hit & ~other.missing)
        return Column(found if name == "isIn" else ~found, value.missing)

    return Expression(Type.BOOLEAN, compute)


@function("isMissing", "isNotMissing", "isValid", "isNotValid")
def _is_missing(name: str, given: Sequence[Expression], site: Site) -> Expression:
    """Valid is what is neither missing, nor undefined (NaN), nor a value that the dictionary declares invalid
    and `asIs` keeps."""
    argument_count(name, given, 1, 1)
    site.scope.reading.tolerant |= given[0].reads
    inner, wanted = given[0].compute, name in ("isMissing", "isNotValid")
    validity = name.endswith("Valid")
    invalid = given[0].invalid if validity else None
    undefined = validity and given[0].kind.real

    def compute(batch: Batch) -> Column:
        column = inner(batch)
        unfit = either(column.mask(batch.count), None if invalid is None else invalid(batch))
        if undefined:
            unfit = either(unfit, np.isnan(column.values))
        return Column(np.asarray(unfit, bool) == wanted)

    return Expression(Type.BOOLEAN, compute)


def _truths(name: str, given: Sequence[Expression]) -> list[Expression]:
    for one in given:
        if one.kind is not Type.BOOLEAN:
            refuse(f"the function {name!r} is given a {one.kind.value}")
    return list(given)


@function("and", "or")
def _and_or(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2)
    computes = [a.compute for a in _truths(name, given)]

    return Expression(Type.BOOLEAN, lambda batch: in_turn(batch, computes, name == "or"))


def in_turn(batch: Batch, parts: Sequence[Compute], decisive: bool) -> Column:
    """`or` (decisive true) and `and` (decisive false): a row that is decided is refused for no later part."""
    columns = [parts[0](batch)]

    def undecided() -> Mask:
        so_far = conjoin(columns, decisive)
        return full_mask((so_far.values != decisive) | _mask(so_far), batch.count)

    for part in parts[1:]:
        columns.append(batch.within(undecided, part))
    return conjoin(columns, decisive)


def conjoin(columns: Sequence[Column], decisive: bool) -> Column:
    """`or` (decisive true) and `and` (decisive false) of three-valued columns."""
    decided: Any = False
    missing = None
    for column in columns:
        hit = column.values == decisive
        decided = decided | (hit if column.missing is None else hit & ~column.missing)
        missing = either(missing, column.missing)
    values = np.asarray(decided if decisive else ~np.asarray(decided), bool)
    return Column(values, None if missing is None else missing & ~decided)


@function("not")
def _not(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 1, 1)
    (inner,) = (a.compute for a in _truths(name, given))

    def compute(batch: Batch) -> Column:
        column = inner(batch)
        return Column(~column.values, column.missing)

    return Expression(Type.BOOLEAN, compute)


@function("if")
def _if(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2, 3)
    (condition,) = _truths(name, given[:1])
    kind = _branch_kind(name, given[1:])
    chosen = converted(given[1], kind, name)
    other = converted(given[2], kind, name) if len(given) == 3 else missing_constant(kind)
    ask, yes, no = condition.compute, chosen.compute, other.compute
    guarded, guarded_other = not chosen.is_constant, not other.is_constant

    def compute(batch: Batch) -> Column:
        """A row is not refused for the branch that it does not take."""
        truth = ask(batch)

        def taken(answer: bool) -> Mask:
            return full_mask((truth.values == answer) & ~np.asarray(_mask(truth)), batch.count)

        a = batch.within(lambda: taken(True), yes) if guarded else yes(batch)
        b = batch.within(lambda: taken(False), no) if guarded_other else no(batch)
        values = np.where(truth.values, a.values, b.values)
        missing = truth.missing
        if a.missing is not None or b.missing is not None:
            held = np.where(truth.values, _mask(a), _mask(b))
            missing = either(missing, held)
        return Column(values, missing)

    return Expression(kind, compute)


def _mask(column: Column) -> Any:
    return False if column.missing is None else column.missing


def _branch_kind(name: str, branches: Sequence[Expression]) -> Type:
    kinds = {b.kind for b in branches if not (b.is_constant and b.constant is None)}
    if not kinds:
        return branches[0].kind
    if len(kinds) == 1:
        return next(iter(kinds))
    if all(k.numeric and k not in STARTS for k in kinds):
        return common_kind([b for b in branches if b.kind in kinds])
    raise refusal(f"the branches of {name!r} are {' and '.join(sorted(k.value for k in kinds))}")
