"""All that is kept of one feature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from udfs.lifecycle.statistics import bins, distinct
from udfs.lifecycle.statistics.bins import Bins
from udfs.lifecycle.statistics.frequent import LONGEST_TEXT, Frequent
from udfs.lifecycle.statistics.moments import Moments


class FeatureStatistics(msgspec.Struct):
    """Of one feature over `rows` records: the sum of what is absent, null, nested, number, text and flag.

    `numbers` and `text_lengths` (characters) are over finite numbers and over texts; `infinite` are counted
    with the outer bins, `fractions` are numbers that are not whole. `number_counts` and `text_counts` are
    exact, by `bins`.
    """

    bins: Bins = Bins()
    rows: int = 0
    absent: int = 0
    nulls: int = 0
    nested: int = 0
    flags: int = 0
    texts: int = 0
    infinite: int = 0
    fractions: int = 0
    numbers: Moments = Moments()
    text_lengths: Moments = Moments()
    frequent: Frequent = msgspec.field(default_factory=Frequent)
    registers: np.ndarray = msgspec.field(default_factory=distinct.empty_registers)
    number_counts: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(0, np.int64))
    text_counts: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def counted_in(cls, how: Bins) -> FeatureStatistics:
        """Nothing yet, to be counted in these bins."""
        return cls(
            bins=how,
            number_counts=np.zeros(len(how.edges) + 1, np.int64),
            text_counts=np.zeros(len(how.categories) + 1, np.int64),
        )

    def fits(self) -> bool:
        """Whether there is one count, from 0 up, a bin."""
        counts = ((self.number_counts, self.bins.edges), (self.text_counts, self.bins.categories))
        return all(len(found) == len(cut) + 1 and found.min() >= 0 for found, cut in counts)

    def add(self, values: Sequence[Any]) -> None:
        """One value a record that has the field, as JSON has them."""
        kinds = set(map(type, values))
        if kinds <= {float, int}:
            self.add_numbers(np.array(values, np.float64))
            return
        numbers = [v for v in values if type(v) in (float, int)]
        texts = [v for v in values if type(v) is str]
        flags = [v for v in values if type(v) is bool]
        self.nulls += sum(v is None for v in values)
        self.nested += sum(type(v) in (list, dict) for v in values)
        self.rows += len(values) - len(numbers)
        self.add_numbers(np.array(numbers, np.float64))
        self._add_texts(texts, flags)

    def add_absent(self, count: int) -> None:
        """So many records without the field."""
        self.rows += count
        self.absent += count

    def add_numbers(self, x: NDArray[np.float64]) -> None:
        """One number a record, of shape `(n,)`; NaN is null."""
        self.rows += x.size
        with np.errstate(over="ignore", invalid="ignore"):
            plain = bool(np.isfinite(x.sum()))  # one pass where, as mostly, all are finite
        if not plain:
            missing = np.isnan(x)
            self.nulls += int(missing.sum())
            x = x[~missing]
        if not x.size:
            return
        self.number_counts += bins.count_numbers(x, np.array(self.bins.edges))
        distinct.add(self.registers, distinct.hashes_of_numbers(x))
        finite = x if plain else x[np.isfinite(x)]
        self.infinite += x.size - finite.size
        self.fractions += int(np.count_nonzero(finite != np.trunc(finite)))
        self.numbers = self.numbers.merged(Moments.of(finite))

    def _add_texts(self, texts: Sequence[str], flags: Sequence[bool]) -> None:
        counted = Counter(texts)
        if texts:
            self.texts += len(texts)
            self.text_lengths = self.text_lengths.merged(Moments.of(np.array([len(t) for t in texts], float)))
        for flag, count in Counter(flags).items():
            self.flags += count
            counted["true" if flag else "false"] += count
        if counted:
            self.frequent.add(counted)
            distinct.add(self.registers, distinct.hashes_of_texts(counted))
            place = {text: k for k, text in enumerate(self.bins.categories)}
            for text, count in counted.items():
                self.text_counts[place.get(text[:LONGEST_TEXT], len(place))] += count

    def merge(self, other: FeatureStatistics) -> None:
        """Take in what another instance or micro-batch counted. Raises `StatisticsError` for other bins."""
        if self.bins != other.bins:
            raise StatisticsError("statistics with different bins do not add up: count both in the same ones")
        for name in ("rows", "absent", "nulls", "nested", "flags", "texts", "infinite", "fractions"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.numbers = self.numbers.merged(other.numbers)
        self.text_lengths = self.text_lengths.merged(other.text_lengths)
        self.frequent.add(other.frequent.counts, other.frequent.error)
        self.registers = np.maximum(self.registers, other.registers)
        self.number_counts = self.number_counts + other.number_counts
        self.text_counts = self.text_counts + other.text_counts

    @property
    def missing(self) -> int:
        """Absent or null."""
        return self.absent + self.nulls

    def distinct(self) -> float:
        """An estimate with a standard error of 2.3 %."""
        return distinct.estimate(self.registers)

    def quantile(self, q: float) -> float:
        """Of the numbers, from the counts in the bins; NaN where there are none."""
        found = self.numbers
        return bins.quantile(q, self.bins.edges, self.number_counts, found.least, found.most)
