"""The quality of each model version, by an e-detector over closed windows of `jobs/outcomes.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from schemas.errors import SettingsError, StatisticsError
from schemas.lifecycle.quality import ALL, QualityRecord
from schemas.versioned import read_versioned
from udfs.lifecycle.drift.alerts import QUALITY, Alert, QualityDrop
from udfs.lifecycle.drift.quality_change import QualityDetector
from udfs.lifecycle.quality.exchange import from_plain
from udfs.lifecycle.quality.regression import GROWTH, RegressionSums

_LATEST = 1 << 53
_FEW = 1000
"""Messages that are remembered in any case."""
_PLACES = 256
"""Partitions that are remembered: more than a topic of these has."""


class QualityLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`baseline`: the share of wrong predictions that is still good. Of two classes a prediction is wrong at
    their threshold, of more where another class has the greatest probability, of numbers where it is off by
    more than `error`. `patience`: windows until a false alarm, at least, in expectation."""

    baseline: float
    error: float | None = None
    patience: float = 10_000.0

    def __post_init__(self) -> None:
        QualityDetector(self.baseline, self.patience)  # which raises for what cannot be
        if self.error is not None and not self.error >= 0:
            raise SettingsError(
                f"the error of a prediction that is still right is 0 or more, not {self.error}"
            )


@dataclass(frozen=True, slots=True)
class QualitySpec:
    """`limits`: by data type; others are not watched. `repeat_ms`: after so much event time a version that
    has alarmed is looked at anew; 0: never. `name`: of the job, the alerts' source."""

    name: str
    limits: Mapping[str, QualityLimits] = field(default_factory=dict)
    repeat_ms: int = 0


class VersionQuality(msgspec.Struct):
    """State of one model version. `windows`: batch of the detector -> start of its window, of those at which
    a change may have begun. `seen`: keys of messages that count already, with their windows, and `places`:
    the window of the last message that was read at a place: see `_is_repeat`. `latest`: the start of the
    window of the last batch, with the predictions and wrong ones that messages have told of it. `alarmed`:
    the window of the alarm. `error`: of the limits, by which predictions were wrong."""

    detector: QualityDetector
    windows: dict[int, int] = {}
    seen: dict[str, int] = {}
    alarmed: int | None = None
    latest: tuple[int, int, int] = (ALL, 0, 0)
    error: float | msgspec.UnsetType | None = msgspec.UNSET
    places: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    version: int = 1


def write_version_quality(state: VersionQuality) -> bytes:
    return msgspec.msgpack.encode(state)


def read_version_quality(data: bytes) -> VersionQuality:
    """Raises `StateError` for bytes that are none, and of a newer version."""
    return read_versioned(_QUALITY.decode, data, "quality of a model's version")


_QUALITY = msgspec.msgpack.Decoder(VersionQuality)


def series_of(record: QualityRecord) -> str:
    """The key under which a version's state lies."""
    return msgspec.json.encode([record.data_type, record.model, record.version]).decode()


def watch_quality(
    spec: QualitySpec, record: QualityRecord, state: VersionQuality | None, place: str = ""
) -> VersionQuality | None:
    """The state with a message taken in; None where the message is not one that counts. `place`: the
    partition in which it was read.

    What counts are closed windows of all predictions, each once: not the sums since the start, nor those of
    experiments and candidates, which are of the same predictions. Of a window there is a message of each plan
    and slice; all of them are one batch, so that `patience` is a number of windows.

    Raises `StatisticsError` for a window of no time, and for sums that are none.
    """
    if not ALL <= record.window < _LATEST:
        raise StatisticsError(f"its window begins at {record.window}, which is no epoch milliseconds")
    limits = spec.limits.get(record.data_type)
    told_apart = bool(record.experiment or record.candidate) or record.window == ALL
    if limits is None or told_apart or not record.closed:
        return None
    anew = QualityDetector(limits.baseline, limits.patience)
    found = state or VersionQuality(anew)
    if _is_repeat(record, found, place):
        return None
    kept, since = found.detector, found.alarmed
    changed = (kept.baseline, kept.patience) != (anew.baseline, anew.patience)  # since a savepoint
    changed |= found.error not in (msgspec.UNSET, limits.error)
    again = since is not None and spec.repeat_ms and record.window - since >= spec.repeat_ms
    if changed or again:
        found = VersionQuality(anew, seen=found.seen, places=found.places)
    found.error = limits.error
    _remember(record, found, place)
    if (counted := losses(record, limits)) is not None:
        count, wrong = counted
        window, known, bad = found.latest
        more = window == record.window
        if not more:
            known = bad = 0
            found.windows[found.detector.batches] = record.window
        found.detector.add(count, wrong, wrong, more=more)
        found.latest = record.window, known + count, bad + wrong
        found.windows = {
            batch: start for batch, start in found.windows.items() if batch in found.detector.starts
        }
    return found


def _is_repeat(record: QualityRecord, state: VersionQuality, place: str) -> bool:
    """Whether the message counts already.

    A job tells closed windows in order, and after a failure some of them once more, each message in the
    partition of its key. So there what lies before the latest window is a repeat, and of that window the
    keys are known. Of files, which hold a part of a stream each, those of the last messages are.
    """
    latest = (state.places or {}).get(place, ALL)
    return record.window < latest or record.key in state.seen


def _remember(record: QualityRecord, state: VersionQuality, place: str) -> None:
    places = {at: window for at, window in (state.places or {}).items() if at != place}
    places[place] = record.window
    if len(places) > _PLACES:  # files, which are read once
        del places[next(iter(places))]
    state.places = places
    state.seen[record.key] = record.window
    if len(state.seen) > _FEW:
        needed = set(places.values())
        state.seen = {key: window for key, window in state.seen.items() if window in needed}


def quality_alert(record: QualityRecord, state: VersionQuality, limits: QualityLimits) -> Alert | None:
    """An alert, where this message is the one that raises it; `state` is as `watch_quality` left it."""
    window, count, wrong = state.latest
    if not state.detector.alarmed or state.alarmed is not None or window != record.window:
        return None
    state.alarmed = record.window
    drop = QualityDrop(
        metric="share of wrong predictions",
        baseline=limits.baseline,
        observed=wrong / count,
        log_evidence=state.detector.log_value,
        since=state.windows.get(state.detector.since, record.window),
    )
    end = record.window + record.window_ms
    return Alert(
        QUALITY,
        record.data_type,
        record.window,
        end,
        model=record.model,
        version=record.version,
        quality=(drop,),
        about=("quality",),
    )


def losses(record: QualityRecord, limits: QualityLimits) -> tuple[int, int] | None:
    """Predictions whose outcome is known, and of them the wrong ones; None where that cannot be told.

    Raises `StatisticsError` for sums that are none.
    """
    sums = from_plain(record.kind, record.sums)
    if not isinstance(sums, RegressionSums):
        count, wrong = sums.outcomes, sums.outcomes - sums.right
    elif limits.error is None:
        return None
    else:
        least = -math.inf if not limits.error else 1 + math.log(limits.error) / GROWTH
        count = sums.outcomes
        wrong = sum(counted for place, counted in sums.error_counts.items() if place >= least)
    if type(count) is not int or type(wrong) is not int or not 0 <= wrong <= count < _LATEST:
        raise StatisticsError(f"of {count} predictions {wrong} are said to be wrong: these are no counts")
    return (count, wrong) if count else None
