"""CEL rules over records: parsed once, evaluated a batch at a time.

The language is that of the Common Expression Language, as cel-python implements it, with the comparisons of
`cel_operators`. The one variable is `record`. JSON integers that fit into 64 bits are `int`, all other
numbers `double`; objects are maps, arrays lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import celpy
import numpy as np
from celpy import celtypes
from celpy.evaluation import Activation, CELEvalError, base_functions
from lark import Tree
from numpy.typing import NDArray

from schemas.errors import PlanError
from schemas.expression_bounds import shown
from udfs.ensemble.cel.bounds import MACROS, CelBounds, excess_of_text, excess_of_tree
from udfs.ensemble.cel.budget import STEP_CHARACTERS, BoundedEvaluator, Budget, SpentError
from udfs.ensemble.cel.columns import NotCoveredError
from udfs.ensemble.cel.compiler import VARIABLE, ColumnRule, bare, fits_int, to_double
from udfs.ensemble.cel.operators import OPERATORS

_SPENT_BATCHES = 3  # in a row, after which a rule is not evaluated any more
_SHOWN = 200
_VALUES_A_STEP = 4
_TYPES = frozenset(
    {"bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string", "timestamp", "type"}
    | {"uint"}
)
_FUNCTIONS = frozenset(base_functions) | _TYPES | {"has", "dyn"}


class CelRule:
    """One rule. Raises `PlanError` for an expression that cannot be parsed, names what does not exist, or is
    too long, too deep or too dear.

    Evaluation has a budget for each micro-batch; what comes after its end counts as an evaluation that
    failed. A rule that uses it up three times in a row is `spent`, and not true of any record from then on.

    `fields`: the fields of the record that it looks at; None where it looks at the record as a whole.
    `by_columns`: whether batches are evaluated as columns where types allow, or always record by record.
    """

    def __init__(self, when: str, bounds: CelBounds | None = None) -> None:
        self.when = when
        self._bounds = bounds or CelBounds()
        self.spent = False
        self._spent_batches = 0
        try:
            self._read()
        except PlanError:
            raise
        except Exception as e:  # also of recursion and memory: whatever it is, it is this rule's fault
            raise PlanError(f"the rule {shown(when)} cannot be read: {type(e).__name__}") from None

    def _read(self) -> None:
        about = f"the rule {shown(self.when)}"
        if excess := excess_of_text(self.when, self._bounds):
            raise PlanError(f"{about} {excess}")
        environment = celpy.Environment()
        try:
            self._tree = environment.compile(self.when)
        except Exception as e:  # lark's and cel-python's errors have no root of their own
            where = f" (line {e.line}, column {e.column})" if isinstance(e, celpy.CELParseError) else ""
            raise PlanError(f"{about} is no CEL expression{where}") from None
        if excess := excess_of_tree(self._tree, self._bounds):
            raise PlanError(f"{about} {excess}")
        strange = sorted(_strange(self._tree))
        if strange:
            raise PlanError(f"{about} names {', '.join(strange)[:_SHOWN]}; rules are about {VARIABLE!r}")
        self._annotations = environment.annotations
        self.fields = _fields(self._tree)
        self._columns = ColumnRule.of(self._tree)
        self._cost = sum(1 for _ in self._tree.iter_subtrees())
        self.by_columns = self._columns is not None

    def holds(self, records: Sequence[Any]) -> NDArray[np.bool_]:
        """For each record whether the rule is true of it; an evaluation that fails is not true."""
        true = np.zeros(len(records), dtype=bool)
        if self.spent:
            return true
        budget = self._budget()
        try:
            if self._columns is None:
                self._one_by_one(records, range(len(records)), true, budget)
            else:
                self._by_groups(self._columns, records, true, budget)
            self._spent_batches = 0
        except SpentError:
            self._spent_batches += 1
            self.spent = self._spent_batches >= _SPENT_BATCHES
        return true

    def _budget(self) -> Budget:
        bounds = self._bounds
        return Budget(bounds.batch_steps, bounds.record_steps, bounds.value)

    def _by_groups(
        self, columns: ColumnRule, records: Sequence[Any], true: NDArray[np.bool_], budget: Budget
    ) -> None:
        for rows, part in columns.groups(records):
            budget.begin()
            budget.spend(self._cost)
            budget.spend_whole(columns.searches * part.characters() // STEP_CHARACTERS)
            try:
                true[rows] = columns.holds(part)
            except NotCoveredError:
                self._one_by_one(records, rows, true, budget)
            except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, MemoryError):
                continue  # as an evaluation that failed

    def _one_by_one(
        self, records: Sequence[Any], rows: Iterable[int], true: NDArray[np.bool_], budget: Budget
    ) -> None:
        for row in rows:
            true[row] = self._holds(records[row], budget)

    def _holds(self, record: Mapping[str, Any], budget: Budget) -> bool:
        """Raises `SpentError` where the micro-batch's budget is used up."""
        budget.begin()
        activation = Activation(annotations=self._annotations, functions=OPERATORS)
        try:
            context = {VARIABLE: to_cel(record, budget)}
            answer = BoundedEvaluator(self._tree, activation, budget).evaluate(context)
        except CELEvalError:
            return False
        except SpentError as e:
            if e.whole:
                raise
            return False
        except Exception:
            return False  # what a function of cel-python raised past its own error values
        return isinstance(answer, (celtypes.BoolType, bool)) and bool(answer)


def to_cel(value: Any, budget: Budget | None = None) -> Any:  # noqa: PLR0911
    """A JSON value for cel-python. Raises `SpentError`."""
    if value is None:
        return None
    if isinstance(value, bool):
        return celtypes.BoolType(value)
    if isinstance(value, int):
        return celtypes.IntType(value) if fits_int(value) else celtypes.DoubleType(to_double(value))
    if isinstance(value, float):
        return celtypes.DoubleType(value)
    if isinstance(value, str):
        return celtypes.StringType(value)
    if budget is not None:
        budget.spend(len(value) // _VALUES_A_STEP)
    if isinstance(value, list):
        return celtypes.ListType([to_cel(v, budget) for v in value])
    return celtypes.MapType({celtypes.StringType(k): to_cel(v, budget) for k, v in value.items()})


def _fields(tree: Tree) -> frozenset[str] | None:
    """The record's fields behind `record.NAME`; None where `record` stands in another way."""
    selected = [str(dot.children[1]) for dot in _all(tree, "member_dot") if _is_ident(bare(dot.children[0]))]
    mentioned = [ident for ident in _all(tree, "ident") if _is_ident(ident)]
    return frozenset(selected) if len(selected) == len(mentioned) else None


def _strange(tree: Tree) -> set[str]:
    """Names that mean nothing: variables but `record` and those of macros, and unknown functions."""
    calls = list(_all(tree, "member_dot_arg"))
    bound = {VARIABLE} | _TYPES
    for call in calls:
        if str(call.children[1]) in MACROS and len(call.children) > 2:
            first = bare(call.children[2].children[0])
            bound |= {str(first.children[0])} if _is_ident(first, None) else set()
    named = {str(ident.children[0]) for ident in _all(tree, "ident")} - bound
    called = {str(call.children[1]) for call in calls} - MACROS
    called |= {str(call.children[0]) for call in _all(tree, "ident_arg")}
    dotted = {f".{node.children[0]}" for kind in ("dot_ident", "dot_ident_arg") for node in _all(tree, kind)}
    return named | (called - _FUNCTIONS) | dotted


def _is_ident(node: Any, name: str | None = VARIABLE) -> bool:
    return isinstance(node, Tree) and node.data == "ident" and name in (None, str(node.children[0]))


def _all(tree: Tree, kind: str) -> Iterator[Tree]:
    return (node for node in tree.iter_subtrees() if node.data == kind)
