"""What `jobs/outcomes.py` says about models: quality by window, and evidence by entity for experiments.

Both are JSON objects, one a message, with the number of their format. Times are epoch milliseconds.

A result says in its stamp which experiments its record is part of, by the experiment's name:
`"experiments": {"wine-v4": {"arm": "treatment", "step": 1}}`. `step` is that of the ramp when the record was
scored, counted from 0. A result without the field is in none.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, TypeVar

import msgspec

from schemas.versioned import read_formatted

FORMAT = 1
ALL = -1
"""The window of what is counted since the start."""

Kind = Literal["classes", "multiclass", "labels", "numbers"]
"""Of predictions: of one of two classes, of one of several, of several without probabilities, or numbers."""

M = TypeVar("M", "QualityRecord", "EvidenceBatch", "OutcomeCounts")
Sums = dict[str, int | float | list[list[int | float] | str]]


class QualityRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How good the predictions of one window were, for one combination of what is told apart.

    `window`: its start, in event time of the records, or `ALL`. A record of experiments is counted once with
    `experiment` empty, and once more for each of them; what a candidate answered is counted with `candidate`
    set. So the predictions of a window are those of its messages with neither, and figures of several
    messages come from their `sums`, which add up name by name: `udfs.lifecycle.quality.exchange` reads them.

    Later messages of a key replace earlier ones. `closed`: the window gets nothing more. What is not known
    is missing in `figures`.
    """

    data_type: str
    window: int
    window_ms: int
    model: str = ""
    version: int = 0
    plan: str = ""
    plan_version: int = 0
    experiment: str = ""
    arm: str = ""
    candidate: str = ""
    slices: dict[str, str] = {}
    kind: Kind = "classes"
    figures: dict[str, float] = {}
    sums: Sums = {}
    at: int = 0
    closed: bool = False
    format: int = FORMAT

    @property
    def key(self) -> str:
        """The key under which a compacted topic keeps only the newest of these."""
        told_apart = (self.data_type, self.window, self.model, self.version, self.plan, self.plan_version)
        which = (self.experiment, self.arm, self.candidate, sorted(self.slices.items()))
        return msgspec.json.encode([*told_apart, *which]).decode()


class EvidenceBatch(msgspec.Struct, frozen=True, kw_only=True):
    """n records of one experiment whose attribution window has closed, with an outcome or without one.

    Each column has n values. A record is in here once, by the outcome in force when its window closed. After
    failure of the job it may come again, and an entity comes with each of its records. So a reader counts an
    entity by the first of its records that it reads, and passes over the others: then a repeat changes
    nothing.

    `values`: metric -> one value a record, None where there is none. `outcome` is the outcome as a number (of
    two classes 1 or 0, of more there is none), and stands under the name of its field too; `latency` is the
    result's `ms`; `failed` is 1 where nothing was scored, else 0; `late` is 1 where an answer that counts
    missed its deadline, else 0. Of classes also `correct` (1 or 0), and where there are probabilities
    `log_loss` and `squared_error` (of more than two half of its sum over classes, so that it lies in [0, 1]),
    of numbers `error`, `absolute_error` and `squared_error`. Beyond these, the outcome's fields that the
    job's settings name as metrics. Of shadows, NAME/METRIC, and their version as NAME/version.

    `models` and `versions`: whose answer each record got, or who was asked in vain; empty and 0 where nobody
    was. Older jobs write neither.
    """

    data_type: str
    experiment: str
    entities: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    event_times: tuple[int, ...] = ()
    values: dict[str, tuple[float | None, ...]] = {}
    models: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    at: int = 0
    format: int = FORMAT

    def __post_init__(self) -> None:
        n = len(self.entities)
        columns = {"arms": self.arms, "steps": self.steps, "event_times": self.event_times, **self.values}
        columns |= {"models": self.models, "versions": self.versions} if self.models else {}
        if wrong := sorted(name for name, column in columns.items() if len(column) != n):
            raise ValueError(f"evidence about {n} records has {len(columns[wrong[0]])} of {wrong[0]}")

    @property
    def key(self) -> str:
        """The key of the message: all evidence of an experiment is in one partition, in order."""
        return self.experiment


class OutcomeCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the predictions and outcomes of one instance since the start: fate -> count.

    The fates are those of `udfs.lifecycle.outcomes.fates`. What came in is the sum over fates and what still
    waits: predictions without an outcome, outcomes without a prediction. `key_group`: the first one of the
    instance. At another parallelism an instance may settle what another has read: then a number that waits
    can be negative, and the sum over all messages, the newest of each key group, is right.
    """

    key_group: int
    predictions: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    predictions_in: int = 0
    outcomes_in: int = 0
    waiting_predictions: int = 0
    waiting_outcomes: int = 0
    at: int = 0
    format: int = FORMAT

    @property
    def key(self) -> str:
        """The key under which a compacted topic keeps only the newest of these."""
        return str(self.key_group)


def write_message(message: QualityRecord | EvidenceBatch | OutcomeCounts) -> bytes:
    """As JSON. Numbers that are not finite do not exist there: leave them out, or say None."""
    return msgspec.json.encode(message)


def read_message(kind: type[M], data: bytes) -> M:
    """What `write_message` wrote; fields that a newer writer added are passed over.

    Raises `StatisticsError` where `data` is none, or of a newer format.
    """
    return read_formatted(partial(msgspec.json.decode, type=kind), data, kind.__name__, FORMAT)
