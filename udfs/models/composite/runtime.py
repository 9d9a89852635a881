"""A loaded graph of models: its nodes are called one after another, and closed together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PredictError
from schemas.tensors import Columns, Input, Output
from udfs.models.composite.wiring import RECORD, Answers, ValueSource
from udfs.models.runtimes.base import Runtime

Results = Sequence[tuple[str, ValueSource]]


@dataclass(frozen=True, slots=True)
class NodeCall:
    """One node in its turn. `passed_on`: outputs that another node reads, which must be finite."""

    node: str
    runtime: Runtime
    feeds: Mapping[str, Callable[[Answers], NDArray]]
    passed_on: tuple[str, ...]

    def run(self, answers: Answers) -> Columns:
        answer = self.runtime.predict({name: column(answers) for name, column in self.feeds.items()})
        for name in self.passed_on:  # PMML would take NaN for a value that is missing
            if not np.isfinite(answer[name]).all():
                raise PredictError(f"its output {name!r} is not finite")
        return answer


class GraphRuntime:
    """Loaded nodes in the order of their calls. It owns them by `held`; made by `model_graph.load`."""

    def __init__(
        self, inputs: tuple[Input, ...], calls: Sequence[NodeCall], results: Results, held: ExitStack
    ) -> None:
        self.inputs = inputs
        self.outputs = tuple(Output(name, s.output.dtype, s.shape) for name, s in results)
        self._calls, self._results, self._held = tuple(calls), tuple(results), held
        self._closed = False

    def predict(self, columns: Columns) -> Columns:
        """Score n records: columns `(n, *shape)` in and out. Raises `PredictError`, which names the node."""
        if self._closed:
            raise PredictError("the graph of models is closed")
        answers: Answers = {RECORD: columns}
        with np.errstate(over="raise"):  # a number too great for the next model is no infinity
            for call in self._calls:
                answers[call.node] = _checked(call, answers)
        return {name: s.column(answers) for name, s in self._results}

    def close(self) -> None:
        """Close every node, the last first, even where one fails to. Safe to call twice."""
        self._closed = True
        self._held.close()


def _checked(call: NodeCall, answers: Answers) -> Columns:
    try:
        return call.run(answers)
    except PredictError as e:
        raise PredictError(f"node {call.node!r}: {e}") from e
    except KeyError as e:
        raise PredictError(f"node {call.node!r}: the records have no column {e}, which it reads") from e
    except (ValueError, FloatingPointError) as e:
        raise PredictError(f"node {call.node!r}: its columns cannot be made: {e}") from e
