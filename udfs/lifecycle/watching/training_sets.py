"""The statistics of training sets, which streams are compared with: where they lie, and what they were."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from urllib.parse import quote

from schemas.errors import MillraceError, StatisticsError
from udfs.lifecycle.drift.monitor import DriftMonitor
from udfs.lifecycle.drift.reference import vector
from udfs.lifecycle.drift.settings import DriftSettings
from udfs.lifecycle.statistics.bins import Bins
from udfs.lifecycle.statistics.exchange import read_proto
from udfs.lifecycle.statistics.table import TableStatistics, read_statistics
from udfs.lifecycle.watching.series import SCORES, Series

Read = Callable[[str], bytes | None]
"""The bytes at a place, None where there is nothing."""
_log = logging.getLogger(__name__)
_MOST_KNOWN = 10_000
"""Series whose training set is remembered: names come from the stream."""
_MOST_SAID = 1_000
_FIELD = re.compile(r"\{(data_type|model|version)\}")


@dataclass(frozen=True, slots=True)
class TrainingPlaces:
    """Where statistics lie: of a model version by `of_version`, in which `{data_type}`, `{model}` and
    `{version}` are filled in, else of its data type by `of_type`. `ignored`: features of a type that are not
    compared. Names come from the stream: one that would leave its folder has no place by `of_version`."""

    of_type: Mapping[str, str] = field(default_factory=dict)
    of_version: str = ""
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def places(self, data_type: str, model: str, version: int) -> list[str]:
        found = []
        if self.of_version and model and _stays(data_type) and _stays(model):
            names = {"data_type": data_type, "model": model, "version": str(version)}
            if self.of_version.startswith("file:"):  # a URL, in which %2e is a dot
                names = {field: quote(name) for field, name in names.items()}
            found.append(_FIELD.sub(lambda named: names[named[1]], self.of_version))
        if place := self.of_type.get(data_type):
            found.append(place)
        return found


def _stays(name: str) -> bool:
    """Whether a name, which may have steps, lies in the folder that it is filled into."""
    steps = name.split("/")
    return name.isprintable() and "\\" not in name and not any(step in ("", ".", "..") for step in steps)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """`table`: without what is ignored. `digest`: of its bytes, 16 hex digits."""

    digest: str
    table: TableStatistics

    @property
    def bins(self) -> dict[str, Bins]:
        return self.table.bins()


class TrainingSets:
    """Training sets by series, read anew at most each `again_ms`. Times are in ms, of any clock.

    What cannot be read, or is no statistics, is said once in the log and then is as if it were not there; a
    training set that was read before stays.
    """

    def __init__(self, places: TrainingPlaces, read: Read, again_ms: int, with_fields: bool = True) -> None:
        """`with_fields`: of results the record's fields are counted too, beside the scores."""
        self._places, self._read, self._again_ms = places, read, again_ms
        self._with_fields = with_fields
        self._known: dict[tuple[str, str, int], tuple[int, TrainingSet | None]] = {}
        self._said: set[str] = set()

    def of(self, data_type: str, model: str, version: int, now: int) -> TrainingSet | None:
        """None where nothing is known of what it was trained on."""
        key = (data_type, model, version)
        known = self._known.get(key)
        if known is None or now - known[0] >= self._again_ms:
            before = None if known is None else known[1]
            if known is None and len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = known = (now, self._found(key, before))
        return known[1]

    def of_series(self, series: Series, now: int) -> TrainingSet | None:
        """The training set of this digest, or None where another has taken its place, or it cannot be had
        now."""
        found = self.of(series.data_type, series.model, series.version, now)
        return found if found is not None and found.digest == series.training else None

    def _found(self, key: tuple[str, str, int], before: TrainingSet | None) -> TrainingSet | None:
        for place in self._places.places(*key):
            try:
                if (found := self._at(place, key, before)) is not None:
                    return found
            except MillraceError as e:
                self._say(f"{place}: {e}")
                if before is not None:
                    return before
        return None

    def _at(
        self, place: str, key: tuple[str, str, int], before: TrainingSet | None = None
    ) -> TrainingSet | None:
        ignored = self._places.ignored.get(key[0], ())
        if (data := self._read(place)) is None:
            return None
        digest = blake2b(data + repr(sorted(ignored)).encode(), digest_size=8).hexdigest()
        if before is not None and before.digest == digest:
            return before
        table = read_proto(data) if place.endswith(".pb") else read_statistics(data)
        kept = {
            name: feature
            for name, feature in table.features.items()
            if name not in ignored and self._counts(name, of_results=bool(key[1]))
        }
        return TrainingSet(digest, TableStatistics(kept, table.rows))

    def check(self) -> None:
        """Raises `SourceError` or `StatisticsError` for what is at the place of a data type and cannot be
        read. Nothing may be there yet."""
        for data_type, place in self._places.of_type.items():
            try:
                self._at(place, (data_type, "", 0))
            except StatisticsError as e:
                raise StatisticsError(f"{place}: {e}") from None

    def _say(self, what: str) -> None:
        if what not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(what)
            _log.warning("a training set is passed over: %s", what[:1_000])

    def _counts(self, name: str, of_results: bool) -> bool:
        return of_results if name.startswith(SCORES) else not of_results or self._with_fields


def monitor_of(training: TrainingSet, settings: DriftSettings, since: Mapping[str, int]) -> DriftMonitor:
    counted = {name: feature for name, feature in training.table.features.items() if vector(feature).any()}
    return DriftMonitor(TableStatistics(counted, training.table.rows), settings, since)
