"""What `jobs/watch.py` says about each window: the statistics of its records, as JSON that any consumer
reads.

Times are epoch milliseconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.versioned import read_formatted

WINDOW_FORMAT = 1


class NumberSums(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of `count` finite numbers. `squares`: the sum of squared distances from the mean."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    deviation: float = 0.0
    min: float | None = None
    max: float | None = None
    zeros: int = 0


class FeatureSums(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one feature over `rows` records: the sum of what is absent, null, nested, number, text and flag.

    `number_counts` are exact, in the bins between `edges` (one more than these); `category_counts` of
    `categories` and of all others. `quantiles` come from the counts; of 0.01, 0.05, 0.25, 0.5, 0.75, 0.95 and
    0.99. `distinct` is an estimate with a standard error of 2.3 %, `registers` what it is made of
    (HyperLogLog, base64 of zlib). `frequent`: texts with their counts, each true count at most
    `frequent_error` more.
    """

    rows: int = 0
    absent: int = 0
    nulls: int = 0
    nested: int = 0
    flags: int = 0
    texts: int = 0
    infinite: int = 0
    fractions: int = 0
    numbers: NumberSums = NumberSums()
    text_lengths: NumberSums = NumberSums()
    median: float | None = None
    quantiles: tuple[float, ...] = ()
    distinct: float = 0.0
    edges: tuple[float, ...] = ()
    number_counts: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    category_counts: tuple[int, ...] = ()
    frequent: tuple[tuple[str, int], ...] = ()
    frequent_error: int = 0
    registers: str = ""


class WindowStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The records of a data type, or the results of a model version, in [start, end): `of` says which.

    `model` is empty of records, and of results that no model scored.

    `training`: the digest of the statistics whose bins it was counted in; empty: none. `rows`: records that
    were read, and beside them `unreadable`. `sample`: the share of the stream that was counted. `late`: these
    records came after the window had been told of (start and end are -1 where they had no time), counted in
    `addition`, and are not in its other messages: so all messages of all windows add up to what was read. A
    window of many features comes in `parts` messages, of which this is number `part` from 0. `drifting`:
    features that drift. `broken`: records by rule for outliers. `others`: values of fields that are too many
    to be told of one by one.
    """

    of: Literal["records", "results"]
    data_type: str
    model: str = ""
    version: int = 0
    start: int
    end: int
    rows: int
    unreadable: int = 0
    training: str = ""
    sample: float = 1.0
    late: bool = False
    addition: int = 0
    part: int = 0
    parts: int = 1
    features: dict[str, FeatureSums] = {}
    drifting: tuple[str, ...] = ()
    broken: dict[str, int] = {}
    others: int = 0
    at: int = 0
    format: int = WINDOW_FORMAT

    @property
    def key(self) -> str:
        """Of the message: all windows of a series are in one partition, in order."""
        return msgspec.json.encode([self.of, self.data_type, self.model, self.version]).decode()


def write_window(window: WindowStatistics) -> bytes:
    return msgspec.json.encode(window)


def read_window(data: bytes) -> WindowStatistics:
    """What `write_window` wrote; fields that a newer writer added are passed over.

    Raises `StatisticsError` where `data` is none, or of a newer format.
    """
    return read_formatted(_WINDOWS.decode, data, "statistics of a window", WINDOW_FORMAT)


_WINDOWS = msgspec.json.Decoder(WindowStatistics)
