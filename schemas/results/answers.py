"""What router, executors and collector send each other. One batch is asked about at once.

They cross between operators and lie in state as msgpack, so that a savepoint outlives the code. Times are
epoch milliseconds, durations milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray


class Reason(StrEnum):
    """Why a candidate was not asked, or its answer not waited for. The texts lie in state and go out with
    results: those of the abandoned keep the words of earlier releases."""

    LATE_ON_ARRIVAL = "the deadline was over on arrival"
    LATE_IN_QUEUE = "the deadline was over before its turn came"
    OCCUPIED = "occupied"
    LOADING = "loading"
    NO_MODEL = "no model"
    TOO_MANY_ABANDONED = "fenced out: too many calls are stuck"
    ABANDONED = "fenced off: the call did not come back"
    RESTARTED = "restarted"
    ENDED = "the input ended"


class AnswerOutcome(StrEnum):
    """What a candidate made of a request. LATE is said by the collector, the others by the executor."""

    SCORED = "scored"
    LATE = "late"
    DECLINED = "declined"
    FAILED = "failed"


class Asked(msgspec.Struct, frozen=True):
    """A candidate and the records it is asked about: indices into the batch, ascending, or None for all."""

    candidate: str
    rows: tuple[int, ...] | None = None
    shadow: bool = False


class Request(msgspec.Struct, frozen=True):
    """To the executor of a model type; the batch travels beside it. Late from `deadline` on."""

    batch_id: str
    data_type: str
    created: int
    deadline: int
    asked: tuple[Asked, ...]


class InExperiment(msgspec.Struct, frozen=True):
    """Which arm of which experiment, at which step of its ramp."""

    name: str
    arm: str
    step: int


class DecisionContext(msgspec.Struct, frozen=True):
    """To the collector: who was asked, and the plan that decides; the batch travels beside it.

    `metrics`: candidate -> quality metrics of its descriptor. `experiment`: what all records of the batch are
    part of, unset for none.
    """

    batch_id: str
    data_type: str
    created: int
    deadline: int
    asked: tuple[Asked, ...]
    plan: bytes
    plan_name: str = ""
    plan_version: int = 0
    metrics: dict[str, dict[str, float]] = {}
    experiment: InExperiment | msgspec.UnsetType = msgspec.UNSET


class AnswerColumn(msgspec.Struct, frozen=True):
    """An output column: numbers as `dtype` and bytes of `shape`, text as a list."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes = b""
    text: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """One candidate's answer about one batch. The stamp is of the object that scored.

    `rows`: indices into the batch for which `columns` holds a value, ascending, None for all; `bad`: index ->
    why the model could not score that record (an input is missing, a prediction failed); `unfit`: those of
    them whose bytes are at fault and not the model -> code (`schemas.codecs.base.Code`). `ms`: in `predict`;
    `waited_ms`: from the request's creation to the answer. `reason`: why nothing was scored. `signer`: the
    key that signed the model, unset where nobody did.
    """

    batch_id: str
    data_type: str
    candidate: str
    outcome: AnswerOutcome
    version: int = 0
    digest: str = ""
    rows: tuple[int, ...] | None = None
    columns: dict[str, AnswerColumn] = {}
    bad: dict[int, str] = {}
    unfit: dict[int, str] = {}
    ms: float = 0.0
    waited_ms: float = 0.0
    reason: str = ""
    signer: str | msgspec.UnsetType = msgspec.UNSET


def to_columns(values: Mapping[str, NDArray]) -> dict[str, AnswerColumn]:
    """Output columns `(n, *shape)` for the way."""
    return {name: _column(np.asarray(array)) for name, array in values.items()}


def from_columns(columns: Mapping[str, AnswerColumn]) -> dict[str, NDArray]:
    """The inverse of `to_columns`; the arrays are read-only."""
    return {name: _array(column) for name, column in columns.items()}


def _column(array: NDArray) -> AnswerColumn:
    if array.dtype.kind in "OU":
        return AnswerColumn("text", array.shape, text=tuple(map(str, array.ravel().tolist())))
    return AnswerColumn(array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())


def _array(column: AnswerColumn) -> NDArray:
    if column.dtype == "text":
        return np.array(column.text, dtype=object).reshape(column.shape)
    return np.frombuffer(column.data, dtype=np.dtype(column.dtype)).reshape(column.shape)
