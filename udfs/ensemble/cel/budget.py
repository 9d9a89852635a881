"""Evaluation by cel-python within a budget: of steps, and of what values it may make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celpy.evaluation import Activation, Evaluator
from lark import Tree

_MAKING = frozenset({"list_lit", "map_lit", "member_dot_arg", "ident_arg", "addition"})
"""What may give a value that is larger than those that it is given."""

_ELEMENT_STEPS = 5  # each element that a macro visits costs a scope of its own
_STEP_PARTS = 16  # parts of a list or map that are counted in one step
STEP_CHARACTERS = 1000  # of a text that is searched


class SpentError(Exception):
    """The budget is used up. It never leaves `CelRule`. `whole`: that of the micro-batch, not of a record."""

    def __init__(self, whole: bool) -> None:
        super().__init__("the budget is used up")
        self.whole = whole


class Budget:
    """`batch`: steps that are left for the micro-batch; each record may take up to `record`. `value` bounds
    parts and characters of one value."""

    def __init__(self, batch: int, record: int, value: int) -> None:
        self.left, self._record, self.value = batch, record, value
        self._of_record = record

    def begin(self) -> None:
        """The next record."""
        self._of_record = self._record

    def spend(self, steps: int) -> None:
        """Raises `SpentError`."""
        self.spend_whole(steps)
        self._of_record -= steps
        if self._of_record < 0:
            raise SpentError(False)

    def spend_whole(self, steps: int) -> None:
        """Of the micro-batch, for several records at once. Raises `SpentError`."""
        self.left -= steps
        if self.left < 0:
            raise SpentError(True)


class BoundedEvaluator(Evaluator):
    """An `Evaluator` that spends a budget."""

    def __init__(self, ast: Tree, activation: Activation, budget: Budget) -> None:
        super().__init__(ast, activation)
        self._budget = budget

    def sub_evaluator(self, ast: Tree) -> BoundedEvaluator:
        return BoundedEvaluator(ast, self.activation, self._budget)

    def set_activation(self, values: Mapping[str, Any]) -> Evaluator:
        self._budget.spend(_ELEMENT_STEPS)
        return super().set_activation(values)

    def function_eval(self, name_token: Any, exprlist: Any = None) -> Any:
        self._budget.spend(_characters(exprlist) // STEP_CHARACTERS)
        return super().function_eval(name_token, exprlist)

    def method_eval(self, object: Any, method_ident: Any, exprlist: Any = None) -> Any:
        self._budget.spend((_characters([object]) + _characters(exprlist)) // STEP_CHARACTERS)
        return super().method_eval(object, method_ident, exprlist)

    def _visit_tree(self, tree: Tree) -> Any:
        self._budget.spend(1)
        value = super()._visit_tree(tree)
        if tree.data in _MAKING:
            _check_size(value, self._budget)
        return value


def _characters(values: Any) -> int:
    """Of the texts among the arguments of a function; an error may stand in place of them."""
    return sum(len(v) for v in values if isinstance(v, (str, bytes))) if isinstance(values, list) else 0


def _check_size(value: Any, budget: Budget) -> None:
    """Values may hold the same part many times over, and grow beyond all bounds as soon as they are compared
    or written out: so each part counts as often as it is held."""
    if isinstance(value, (str, bytes)):
        if len(value) > budget.value:
            raise SpentError(False)
        return
    if not isinstance(value, (list, dict)):  # as cel-python's own are; sums of lists are plain ones
        return
    waiting, parts = [value], 0
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            inner: list[Any] = [*part.keys(), *part.values()]
        elif isinstance(part, list):
            inner = list(part)
        else:
            continue
        parts += len(inner)
        if parts > budget.value:
            raise SpentError(False)
        waiting.extend(inner)
    budget.spend(parts // _STEP_PARTS)
