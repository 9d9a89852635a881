"""The statistics of training sets, which streams are compared with: where they lie, and what they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from schemas.errors import StatisticsError
from udfs.lifecycle.drift.monitor import DriftMonitor
from udfs.lifecycle.drift.settings import DriftSettings
from udfs.lifecycle.statistics.bins import Bins
from udfs.lifecycle.statistics.table import TableStatistics, read_statistics
from udfs.lifecycle.watching.series import SCORES, Series

Read = Callable[[str], bytes | None]
"""The bytes at a place, None where there is nothing."""


@dataclass(frozen=True, slots=True)
class TrainingPlaces:
    """Where statistics lie: of a model version by `of_version`, in which `{data_type}`, `{model}` and
    `{version}` are filled in, else of its data type by `of_type`. `ignored`: features of a type that are not
    compared."""

    of_type: Mapping[str, str] = field(default_factory=dict)
    of_version: str = ""
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def places(self, data_type: str, model: str, version: int) -> list[str]:
        found = []
        if self.of_version and model:
            filled = self.of_version.replace("{data_type}", data_type).replace("{model}", model)
            found.append(filled.replace("{version}", str(version)))
        if place := self.of_type.get(data_type):
            found.append(place)
        return found


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """`table`: without what is ignored. `digest`: of its bytes, 16 hex digits."""

    digest: str
    table: TableStatistics

    @property
    def bins(self) -> dict[str, Bins]:
        return self.table.bins()


class TrainingSets:
    """Training sets by series, read anew at most each `again_ms`. Times are in ms, of any clock."""

    def __init__(self, places: TrainingPlaces, read: Read, again_ms: int, with_fields: bool = True) -> None:
        """`with_fields`: of results the record's fields are counted too, beside the scores."""
        self._places, self._read, self._again_ms = places, read, again_ms
        self._with_fields = with_fields
        self._known: dict[tuple[str, str, int], tuple[int, TrainingSet | None]] = {}

    def of(self, data_type: str, model: str, version: int, now: int) -> TrainingSet | None:
        """None where nothing is known of what it was trained on. Raises `StatisticsError` for other files."""
        key = (data_type, model, version)
        known = self._known.get(key)
        if known is None or now - known[0] >= self._again_ms:
            before = None if known is None else known[1]
            self._known[key] = known = (now, self._found(key, before))
        return known[1]

    def of_series(self, series: Series, now: int) -> TrainingSet | None:
        """The training set of this digest, or None where another has taken its place."""
        found = self.of(series.data_type, series.model, series.version, now)
        return found if found is not None and found.digest == series.training else None

    def _found(self, key: tuple[str, str, int], before: TrainingSet | None) -> TrainingSet | None:
        ignored = self._places.ignored.get(key[0], ())
        for place in self._places.places(*key):
            if (data := self._read(place)) is None:
                continue
            digest = blake2b(data + repr(sorted(ignored)).encode(), digest_size=8).hexdigest()
            if before is not None and before.digest == digest:
                return before
            try:
                table = read_statistics(data)
            except StatisticsError as e:
                raise StatisticsError(f"{place}: {e}") from None
            kept = {
                name: feature
                for name, feature in table.features.items()
                if name not in ignored and self._counts(name, of_results=bool(key[1]))
            }
            return TrainingSet(digest, TableStatistics(kept, table.rows))
        return None

    def _counts(self, name: str, of_results: bool) -> bool:
        return of_results if name.startswith(SCORES) else not of_results or self._with_fields


def monitor_of(training: TrainingSet, settings: DriftSettings, since: Mapping[str, int]) -> DriftMonitor:
    counted = {name: feature for name, feature in training.table.features.items() if feature.rows}
    return DriftMonitor(TableStatistics(counted, training.table.rows), settings, since)
