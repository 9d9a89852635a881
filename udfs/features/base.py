"""What computes features, without Flink: aggregations, windows over them, and the engine of one view.

The engine is the same object in a streaming job, in a batch job and in a plain loop, which is why their
values agree: it is told what came (`add`) and how far time has gone (`advance`), and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
from numpy.typing import NDArray

from schemas.features.feature_batch import FeatureBatch

END = 2**63 - 1
"""The watermark at the end of a finite input: all is final, every window closes."""

Entity = tuple[Any, ...]
"""Values of a view's entity columns, in order: str or int."""


@runtime_checkable
class Aggregation(Protocol):
    """An aggregate as a monoid over partials. Holds no state of the stream itself.

    A partial is whatever the aggregation likes that is not changed in place. `combine` is associative, so
    that partials of tiles add up to a window; it gets them in order of time and need not be commutative.
    The value of a window is `result` over `combine` of its partials from the oldest to the newest: batch and
    stream combine in this one order, so that floating-point sums agree to the last bit.
    """

    def lift(self, columns: Sequence[pa.Array]) -> list[Any]:
        """The partial of each of n events; `columns` have length n, ordered by time, then event id."""
        ...

    def combine(self, earlier: Any, later: Any) -> Any: ...

    def result(self, partial: Any | None) -> Any:
        """The value; of None (a window without events) what an empty window has: 0 for counts, else None."""
        ...

    def pack(self, partial: Any) -> bytes:
        """For state: as short as may be, in a format that outlives the code (first its version)."""
        ...

    def unpack(self, data: bytes) -> Any: ...


Fields = list[NDArray[Any]]
"""Arrays of equal length, one a field of a partial."""


@runtime_checkable
class FixedAggregation(Protocol):
    """An aggregation whose partial is a few numbers: many entities and tiles are combined in one numpy call.

    `dtypes`: of each field, `numpy.int64` or `numpy.float64`. `identity`: the partial of no events. `merge`
    combines n partials with n later ones, pair by pair, is associative and leaves its arguments alone.
    Partials are kept as they are in state: what fields mean must not change within a view's version.
    """

    @property
    def dtypes(self) -> tuple[type, ...]: ...

    @property
    def identity(self) -> tuple[float | int, ...]: ...

    def lift_fields(self, columns: Sequence[pa.Array]) -> Fields:
        """The partials of n events; `columns` have length n, ordered by time, then event id."""
        ...

    def merge(self, earlier: Fields, later: Fields) -> Fields: ...

    def results(self, fields: Fields) -> pa.Array:
        """The values of n windows."""
        ...


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that was not taken. `code` is `late`, `duplicate`, or `step_failed` with a `reason`.

    With `late_reference` it is a row of a reference that came after events at or after its time had
    become final; it was taken, for those that had not.
    """

    code: str
    event_time: int
    event_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ViewOutput:
    """What a call gave: rows for the stores, and refused events. Each event becomes final or is refused.

    `events`: those that the refused were among, where they are not those that the call was about.
    """

    batches: Sequence[FeatureBatch] = ()
    refused: Sequence[Refused] = ()
    events: pa.RecordBatch | None = None


Fetch = Callable[[Sequence[bytes]], Sequence[bytes | None]]
"""Packed keys of entities -> the packed state of each, or None where it has none. Of many at once, since each
call of Flink gives the interpreter up, and waits behind all who compute then."""


def no_state(keys: Sequence[bytes]) -> Sequence[bytes | None]:
    """A `Fetch` where nothing is stored, as in batch."""
    return [None] * len(keys)


@dataclass(frozen=True, slots=True)
class Changes:
    """State to be written, by key group. `headers`: what a group has beside its entities (watermark, pending
    events, entities that time alone can change), of groups where that is not as it was.

    `entities`: packed key -> packed state, or None where it is empty now.
    """

    headers: Mapping[int, bytes]
    entities: Mapping[int, Mapping[bytes, bytes | None]]
