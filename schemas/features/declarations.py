"""How features are declared: sources of events, references that change, and feature views.

A declaration is data. It is written in Python (a file with `VIEWS`) or in TOML, travels as JSON, and names
functions by `module:name`. Durations are text: `250 ms`, `5 s`, `5 min`, `24 h`, `30 d`. Times are epoch
milliseconds in UTC. `schemas.features.rules.check` says whether declarations fit together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

from schemas.codecs.factory import CodecSpec
from schemas.errors import FeatureError

__all__ = [
    "Aggregate",
    "AggregateFunction",
    "Column",
    "Count",
    "Custom",
    "Declarations",
    "Derived",
    "Distinct",
    "Emission",
    "Enrichment",
    "Expression",
    "Feature",
    "FeatureType",
    "FeatureView",
    "Function",
    "LastN",
    "Max",
    "Mean",
    "Min",
    "OnEvent",
    "OnThreshold",
    "OnWindowEnd",
    "Quantile",
    "Reference",
    "Session",
    "Sliding",
    "Source",
    "Step",
    "Sum",
    "Trailing",
    "Tumbling",
    "Value",
    "Variance",
    "Window",
    "duration_ms",
    "read_declarations",
    "write_declarations",
]
"""What `millrace.views` offers to users' own code."""

TimeUnit = Literal["s", "ms", "us", "ns"]
"""What a bare integer that is a time counts."""

_DURATION = re.compile(r"(\d+) ?(ms|s|min|h|d)")
_UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def day_ms(text: str) -> int:
    """`2000-01-01` -> epoch milliseconds of its beginning, UTC. Raises `FeatureError` for what is no day."""
    try:
        return round(datetime.fromisoformat(f"{text}T00:00+00:00").timestamp() * 1000)
    except ValueError:
        raise FeatureError(f"{text!r} is no day: write it as 2000-01-01") from None


def duration_ms(text: str) -> int:
    """`5 min` -> 300,000. Raises `FeatureError` where `text` is no duration."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise FeatureError(
            f"{text!r} is no duration: give a whole number and ms, s, min, h or d, as in '5 min'"
        )
    return int(found[1]) * _UNITS[found[2]]


class _Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What all declarations share: immutable, no unknown fields, arguments by name."""


class FeatureType(StrEnum):
    """Types of columns and features. TIMESTAMP is an integer of epoch milliseconds."""

    INT64 = "int64"
    FLOAT64 = "float64"
    BOOL = "bool"
    STRING = "string"
    TIMESTAMP = "timestamp"
    INT64_LIST = "int64_list"
    FLOAT64_LIST = "float64_list"
    STRING_LIST = "string_list"


NUMBERS = frozenset({FeatureType.INT64, FeatureType.FLOAT64, FeatureType.TIMESTAMP})
_LISTS = {
    FeatureType.INT64: FeatureType.INT64_LIST,
    FeatureType.TIMESTAMP: FeatureType.INT64_LIST,
    FeatureType.FLOAT64: FeatureType.FLOAT64_LIST,
    FeatureType.STRING: FeatureType.STRING_LIST,
}


def _number(kind: FeatureType) -> FeatureType:
    if kind not in NUMBERS:
        raise FeatureError(f"needs a number, and its column is {kind}")
    return kind


class Column(_Form, frozen=True):
    """A column of events. Where it is not `nullable`, an event without a value is a dead letter. `unit`: of a
    timestamp that comes as a bare integer; encodings that have times of their own say their unit."""

    name: str
    type: FeatureType
    nullable: bool = False
    unit: TimeUnit = "ms"


class Source(_Form, frozen=True):
    """A stream of events, and where its past is kept.

    `event_id`: the column that identifies an event; empty: partition and offset do. `history`: Parquet files
    (a glob, `s3:` or a path) with the same columns, for batch. `out_of_orderness`: how much later than its
    successors an event may come; what is later still is late. `idle`: a partition that is silent for so long
    (processing time) holds nobody back. `future`: the most that an event may be ahead of the clock. `since`:
    the first day, in UTC, that an event can be of; one that seems to be older is refused, as its unit is
    another one than declared. Empty: any day.
    """

    name: str
    columns: tuple[Column, ...]
    event_time: str
    event_id: str = ""
    topic: str = ""
    codec: CodecSpec = CodecSpec()
    history: str = ""
    out_of_orderness: str = "5 s"
    idle: str = "10 s"
    future: str = "1 h"
    since: str = "2000-01-01"


class Reference(_Form, frozen=True):
    """Reference data that changes: the newest row of `key` at an event's time counts. A row whose
    `deleted` column is true ends its key. Of rows of one key and time any counts before one that is deleted,
    and the same one whatever order they come in.

    `history`, `out_of_orderness`, `idle`, `future`: as of a `Source`. An event is final when its source and
    the reference have passed its time; while the reference is idle the source alone decides.
    """

    name: str
    columns: tuple[Column, ...]
    key: str
    event_time: str
    topic: str = ""
    codec: CodecSpec = CodecSpec()
    history: str = ""
    deleted: str = ""
    out_of_orderness: str = "5 s"
    idle: str = "10 s"
    future: str = "1 h"


class Expression(_Form, frozen=True, tag_field="step", tag="sql"):
    """A new column `name` from an SQL expression over the row, in DuckDB's dialect.

    It may read columns of the event and of earlier steps, and nothing else: no other rows, no aggregate, no
    clock. int64 and timestamp are BIGINT there, and `epoch_ms(x)` is the TIMESTAMP of one; a result that is
    a TIMESTAMP becomes milliseconds again. An event on which it fails is a dead letter; `TRY(...)` is null
    instead.
    """

    name: str
    sql: str
    type: FeatureType


class Function(_Form, frozen=True, tag_field="step", tag="python"):
    """A new column `name` from a vectorised function: `inputs` as pandas Series or Arrow arrays of n values,
    in this order, to n values of `type`."""

    name: str
    function: str
    inputs: tuple[str, ...]
    type: FeatureType
    over: Literal["pandas", "arrow"] = "pandas"


class Enrichment(_Form, frozen=True, tag_field="step", tag="enrich"):
    """New columns from a reference as it was at the event's time: `columns` is new name -> its column.

    `on`: the event's column that holds the key. They are null where the reference has no row. Steps from the
    first enrichment on run when the event becomes final, so that a view's entity cannot come of them.
    """

    reference: str
    on: str
    columns: dict[str, str]


Step = Expression | Function | Enrichment


class Tumbling(_Form, frozen=True, tag_field="window", tag="tumbling"):
    """Windows `[k * size, (k + 1) * size)`; a row at the last millisecond of each that has events."""

    size: str


class Sliding(_Form, frozen=True, tag_field="window", tag="sliding"):
    """Windows of `size` that begin every `step`; `size` is a multiple of `step`."""

    size: str
    step: str


class Session(_Form, frozen=True, tag_field="window", tag="session"):
    """Events of an entity with less than `gap` between neighbours; a row at the last one's time + gap - 1."""

    gap: str


class Trailing(_Form, frozen=True, tag_field="window", tag="trailing"):
    """At time t the events in `(t - span, t]`.

    With `tile` the window begins at the start of the tile that holds `t - span`, so that it covers from
    `span` up to, but not including, `span + tile`; state is one partial a tile that has events. Without it
    the window is exact and state is one entry an event.
    """

    span: str
    tile: str = ""


Window = Tumbling | Sliding | Session | Trailing


class Count(_Form, frozen=True, tag_field="function", tag="count"):
    """Events; with `column` those in which it is not null."""

    column: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,) if self.column else ()

    def gives(self, kinds: Sequence[FeatureType]) -> FeatureType:
        return FeatureType.INT64


class _OfColumn(_Form, frozen=True, tag_field="function"):
    """Nulls are passed over; of no values at all the result is null."""

    column: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of events that it is made of."""
        return (self.column,)

    def gives(self, kinds: Sequence[FeatureType]) -> FeatureType:
        """Its type, of columns of `kinds`. Raises `FeatureError` where it takes none of these, or where its
        own arguments are wrong."""
        _number(kinds[0])
        return FeatureType.FLOAT64


class _Same(_OfColumn, frozen=True):
    def gives(self, kinds: Sequence[FeatureType]) -> FeatureType:
        return _number(kinds[0])


class Sum(_Same, frozen=True, tag="sum"):
    """In float64, or in int64 for an int64 column, where an overflow is an error."""


class Mean(_OfColumn, frozen=True, tag="mean"):
    """sum / count, float64."""


class Min(_Same, frozen=True, tag="min"):
    """The type of the column."""


class Max(_Same, frozen=True, tag="max"):
    """The type of the column."""


class Variance(_OfColumn, frozen=True, tag="variance"):
    """By merged central moments (Chan, Golub, LeVeque 1979); `sample` divides by n - 1."""

    sample: bool = False


class LastN(_OfColumn, frozen=True, tag="last_n"):
    """The newest `n` values, newest last, as a list; equal times are ordered by event id."""

    n: int

    def gives(self, kinds: Sequence[FeatureType]) -> FeatureType:
        if self.n < 1 or kinds[0] not in _LISTS:
            raise FeatureError("needs n of 1 or more and a scalar column")
        return _LISTS[kinds[0]]


class Distinct(_OfColumn, frozen=True, tag="distinct"):
    """About how many different values, by HLL (relative error about 1.04 / sqrt(2 ** lg_k))."""

    lg_k: int = 12

    def gives(self, kinds: Sequence[FeatureType]) -> FeatureType:
        if not 4 <= self.lg_k <= 21:
            raise FeatureError("needs lg_k from 4 to 21")
        return FeatureType.INT64


class Quantile(_OfColumn, frozen=True, tag="quantile"):
    """The value at rank `q`, by KLL (rank error about 1.7 % for k = 200)."""

    q: float
    k: int = 200

    def gives(self, kinds: Sequence[FeatureType]) -> FeatureType:
        if not (0 <= self.q <= 1 and 8 <= self.k <= 65535):
            raise FeatureError("needs q from 0 to 1, k from 8 to 65535")
        return super().gives(kinds)


class Custom(_Form, frozen=True, tag_field="function", tag="custom"):
    """A class of `udfs.features.base.Aggregation`, by `module:name`, over `columns`, with `arguments`."""

    aggregation: str
    columns: tuple[str, ...]
    type: FeatureType
    arguments: dict[str, float | int | str | bool] = {}

    @property
    def reads(self) -> tuple[str, ...]:
        return self.columns

    def gives(self, kinds: Sequence[FeatureType]) -> FeatureType:
        return self.type


AggregateFunction = Count | Sum | Mean | Min | Max | Variance | LastN | Distinct | Quantile | Custom


class Aggregate(_Form, frozen=True, tag_field="feature", tag="aggregate"):
    """`of` over `window`, of the events where the bool column `where` is true (empty: of all)."""

    name: str
    of: AggregateFunction
    window: Window
    where: str = ""
    description: str = ""


class Value(_Form, frozen=True, tag_field="feature", tag="value"):
    """A column of the event itself (or of a step) as a feature; empty `column`: the one of that name."""

    name: str
    column: str = ""
    description: str = ""


class Derived(_Form, frozen=True, tag_field="feature", tag="derived"):
    """A feature of features of the same view: a function as in `Function`, run on emitted rows only."""

    name: str
    function: str
    inputs: tuple[str, ...]
    type: FeatureType
    over: Literal["pandas", "arrow"] = "pandas"
    description: str = ""


Feature = Aggregate | Value | Derived


class OnEvent(_Form, frozen=True, tag_field="emit", tag="event"):
    """A row for each event: its entity's features as of its time."""


class OnThreshold(_Form, frozen=True, tag_field="emit", tag="threshold"):
    """Threshold alerts: a row when `feature` begins to exceed `limit` (strictly), and when it no longer does,
    also where only time has passed."""

    feature: str
    limit: float


class OnWindowEnd(_Form, frozen=True, tag_field="emit", tag="window_end"):
    """A row when a tumbling, sliding or session window has closed."""


Emission = OnEvent | OnThreshold | OnWindowEnd


class FeatureView(_Form, frozen=True):
    """Features of one entity, computed from one stream.

    `source`: the name of a `Source`, or of a view (features of features), whose rows are then the events.
    `entity`: the columns that identify the entity, in order. `steps` add columns before aggregation, in
    order. `ttl`: how long after its event time a row may be served. `online_provisional`: Redis gets
    an entity's value as soon as its event arrives, corrected when the watermark has passed; else only then.
    History always gets final rows only. `targets`: where rows go.
    """

    name: str
    version: int
    entity: tuple[str, ...]
    source: str
    features: tuple[Feature, ...]
    ttl: str
    owner: str
    description: str
    steps: tuple[Step, ...] = ()
    emit: Emission = OnEvent()
    online_provisional: bool = True
    targets: tuple[Literal["online", "history"], ...] = ("online", "history")

    @property
    def id(self) -> str:
        """Name and version, as the stores know the view: versions live beside each other."""
        return f"{self.name}_v{self.version}"

    @property
    def ttl_ms(self) -> int:
        return duration_ms(self.ttl)

    @property
    def gives_provisional(self) -> bool:
        """Whether provisional rows leave before the final ones: each event has one, and its time is known."""
        return self.online_provisional and isinstance(self.emit, OnEvent)

    @property
    def final_may_differ(self) -> bool:
        """Whether a final row may have other values than its provisional one: a reference may come late."""
        return any(isinstance(step, Enrichment) for step in self.steps)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.features)

    def aggregates(self) -> Iterator[Aggregate]:
        return (f for f in self.features if isinstance(f, Aggregate))


class Declarations(_Form, frozen=True):
    """All that one file declares. TOML: `[[sources]]`, `[[references]]`, `[[views]]`."""

    sources: tuple[Source, ...] = ()
    references: tuple[Reference, ...] = ()
    views: tuple[FeatureView, ...] = ()


def read_declarations(data: Any) -> Declarations:
    """From plain values (of TOML or JSON). Raises `FeatureError` with what is wrong and where."""
    try:
        return msgspec.convert(data, Declarations)
    except msgspec.ValidationError as e:
        raise FeatureError(f"not feature declarations: {e}") from None


def write_declarations(declared: Declarations) -> bytes:
    """As JSON."""
    return msgspec.json.encode(declared)


def meaning(view: FeatureView) -> FeatureView:
    """The view without what says nothing about its values: owner and descriptions."""
    features = tuple(msgspec.structs.replace(feature, description="") for feature in view.features)
    return msgspec.structs.replace(view, owner="", description="", features=features)
