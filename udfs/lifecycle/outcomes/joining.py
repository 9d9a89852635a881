"""Predictions meet outcomes, key by key: a function of what came, whatever the order in which it came.

An outcome belongs to the predictions of its key that are at most the attribution window older than it. Of
several outcomes the one of the greatest time counts, of equal times the one that was read last; each that has
ever counted is kept. A prediction is given up once its window is over by the clock and by how far outcomes
have been read, so that old records wait for outcomes that are read at the same time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

import msgspec

from udfs.lifecycle.outcomes.fates import Fates, OutcomeFate, PredictionFate
from udfs.lifecycle.outcomes.messages import (
    Came,
    Delivery,
    Kept,
    KeyEntry,
    Packed,
    Predicted,
    Waiting,
    decode_entry,
    encode,
    unpack,
)
from udfs.lifecycle.outcomes.progress import END

_BY_WEIGHT = (
    OutcomeFate.JOINED,
    OutcomeFate.CORRECTION,
    OutcomeFate.OUTDATED,
    OutcomeFate.DUPLICATE,
    OutcomeFate.OUTSIDE,
)
_NOT_MET = (OutcomeFate.OUTSIDE, OutcomeFate.NO_PREDICTION)
_TIME = attrgetter("came.time")
PREDICTIONS, OUTCOMES, REPEATS = "p", "o", "r"
BY_IDENTITY, BY_FIELD = "#", "="
"""How keys begin."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Milliseconds. `window`: how much later than its record an outcome counts; `grace`: how much longer
    predictions wait for it; `keep`: how long outcomes wait for their prediction. `most_of_a_key`: predictions
    and outcomes of one key. `repeat`: how long predictions that were given up are known."""

    window: int
    grace: int = 60_000
    keep: int = 3_600_000
    most_of_a_key: int = 100
    repeat: int = 0

    @property
    def step(self) -> int:
        """Predictions are looked at, whether they are due, in steps of so much time."""
        return max(1_000, self.window // 512)


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A prediction with an outcome of a fate (JOINED, CORRECTION or OUTDATED), or without one.

    `replaced`: the value that counted before a correction.
    """

    key: str
    predicted: Predicted
    came: Came | None
    fate: OutcomeFate | None
    revision: int
    replaced: float | None = None


@dataclass(slots=True)
class Joined:
    """What a call has settled. `closed`: predictions whose window has closed, with the outcome in force then,
    for evidence. `dead`: outcomes that are dead letters, `crowded` predictions that are."""

    settled: list[Settled] = field(default_factory=list)
    closed: list[Settled] = field(default_factory=list)
    dead: list[tuple[Came, OutcomeFate]] = field(default_factory=list)
    crowded: list[Predicted] = field(default_factory=list)


class EntryStore(Protocol):
    """State of an instance: entries by key group and key, and which keys are due when."""

    def read(self, wanted: Mapping[int, Sequence[str]]) -> Mapping[int, Sequence[bytes | None]]:
        """Entries of keys, both by key group."""
        ...

    def write(self, changes: Mapping[int, Mapping[str, bytes | None]]) -> None:
        """Entries by key group and key; None: there is none any more."""
        ...

    def remind(self, reminders: Mapping[tuple[str, int, int], Sequence[str]]) -> None:
        """Keys by kind, time and key group."""
        ...

    def due(self, kind: str, reached: int) -> Iterable[tuple[int, list[str]]]:
        """Key group and keys of each reminder up to `reached`, which is then forgotten."""
        ...


class Joining:
    """One call's work: read what it touches, write it at the end (`done`). `now`: the clock's."""

    def __init__(self, terms: Terms, store: EntryStore, fates: Fates, now: int) -> None:
        self._terms, self._store, self._fates, self._now = terms, store, fates, now
        self._step = terms.step
        self._entries: dict[int, dict[str, KeyEntry]] = {}
        self._reminders = defaultdict[tuple[str, int, int], list[str]](list)
        self._known: dict[tuple[int, str], set[str]] = {}
        self._found = Joined()

    def results(self, delivery: Delivery) -> None:
        self._fates.results_read(delivery.passed_over, delivery.refused)
        self._load({g: [key for key, _, _ in some] for g, some in delivery.predictions.items()})
        for group, predictions in delivery.predictions.items():
            self._fates.predictions_in += len(predictions)
            entries = self._entries[group]
            for key, event_time, packed in predictions:
                self._predict(group, key, entries[key], event_time, packed)

    def outcomes(self, delivery: Delivery) -> None:
        self._fates.outcomes_read(delivery.refused)
        self._load({g: [key for key, _ in some] for g, some in delivery.outcomes.items()})
        for group, outcomes in delivery.outcomes.items():
            self._fates.outcomes_in += len(outcomes)
            entries = self._entries[group]
            for key, came in outcomes:
                self._come(group, key, entries[key], came)

    def _predict(self, group: int, key: str, entry: KeyEntry, event_time: int, packed: Packed) -> None:
        if entry.predictions or entry.past:
            known = self._known.get((group, key))
            if known is None:
                known = {_named(key, waiting.packed) for waiting in entry.predictions}
                known.update(name for _, name in entry.past)
                self._known[group, key] = known
            name = _named(key, packed)
            if name in known:
                self._fates.prediction(PredictionFate.REPEATED)
                return
            if len(entry.predictions) >= self._terms.most_of_a_key:
                self._fates.prediction(PredictionFate.CROWDED)
                self._found.crowded.append(unpack(packed))
                return
            known.add(name)
        over = max(event_time + self._terms.window, self._now)
        waiting = Waiting(packed, self._due(over + self._terms.grace))
        entry.predictions.append(waiting)
        self._reminders[PREDICTIONS, waiting.due, group].append(key)
        for kept in sorted(entry.outcomes, key=_TIME) if entry.outcomes else ():
            fate = self._meet(key, waiting, kept.came)
            if fate is OutcomeFate.OUTSIDE:
                kept.outside = True
            elif not kept.joined:
                kept.joined, kept.came.raw = True, b""
                self._fates.outcome(fate)

    def _come(self, group: int, key: str, entry: KeyEntry, came: Came) -> None:
        fates = [self._meet(key, waiting, came) for waiting in entry.predictions]
        if len(fates) == 1:
            fate = fates[0]
        else:
            fate = min(fates, key=_BY_WEIGHT.index, default=OutcomeFate.NO_PREDICTION)
        joined = fate not in _NOT_MET
        if joined:
            self._fates.outcome(fate)
            came.raw = b""
        if len(entry.outcomes) >= self._terms.most_of_a_key:
            if not joined:
                self._fates.outcome(OutcomeFate.CROWDED)
                self._found.dead.append((came, OutcomeFate.CROWDED))
            return
        if joined and key[0] == BY_IDENTITY:  # no other prediction of it can come
            return
        due = self._due(max(came.read_at, self._now) + self._terms.keep)
        kept = Kept(came, due, joined, fate is OutcomeFate.OUTSIDE)
        entry.outcomes.append(kept)
        self._reminders[OUTCOMES, kept.due, group].append(key)

    def close(self, outcomes_read_to: int, results_read_to: int, most: int = 1 << 62) -> bool:
        """Give up what is due; True where there is more than about `most` keys of it."""
        looked_at = 0
        self._known.clear()
        for kind, reached in (
            (PREDICTIONS, outcomes_read_to),
            (OUTCOMES, results_read_to),
            (REPEATS, results_read_to),
        ):
            for group, keys in self._store.due(kind, reached):
                self._load({group: keys})
                for key in keys:
                    self._give_up(group, key, self._entries[group][key], kind, reached)
                looked_at += len(keys)
                if looked_at >= most:
                    return True
        return False

    def done(self) -> Joined:
        """Write what has changed; what was settled since the last call."""
        self._store.write(
            {
                group: {key: encode(e) if _holds(e) else None for key, e in entries.items()}
                for group, entries in self._entries.items()
            }
        )
        self._store.remind(self._reminders)
        found, self._found = self._found, Joined()
        for kept in (self._entries, self._known, self._reminders):
            kept.clear()
        return found

    def _meet(self, key: str, waiting: Waiting, came: Came) -> OutcomeFate:
        predicted = unpack(waiting.packed)
        if not 0 <= came.time - predicted.event_time <= self._terms.window:
            return OutcomeFate.OUTSIDE
        replaced: float | None = None
        if not waiting.revision:
            fate = OutcomeFate.JOINED
            self._fates.prediction(PredictionFate.JOINED)
        elif came.time < waiting.time:
            self._found.settled.append(Settled(key, predicted, came, OutcomeFate.OUTDATED, 0))
            return OutcomeFate.OUTDATED
        elif came.text == waiting.text and came.metrics == (waiting.metrics or {}):
            waiting.time = came.time
            return OutcomeFate.DUPLICATE
        else:
            fate, replaced = OutcomeFate.CORRECTION, waiting.value
        waiting.value, waiting.text, waiting.time = came.value, came.text, came.time
        waiting.revision += 1
        if came.metrics or waiting.metrics or (predicted.experiments and predicted.entity):
            waiting.metrics = came.metrics
        self._found.settled.append(Settled(key, predicted, came, fate, waiting.revision, replaced))
        return fate

    def _give_up(self, group: int, key: str, entry: KeyEntry, kind: str, reached: int) -> None:
        if kind == REPEATS:
            entry.past = [past for past in entry.past if past[0] > reached]
            return
        if kind == PREDICTIONS:
            over = [waiting for waiting in entry.predictions if waiting.due <= reached]
            for waiting in over:
                self._over(key, waiting)
            entry.predictions = [w for w in entry.predictions if w.due > reached]
            if over and self._terms.repeat and reached < END:  # after the end nothing comes again
                self._remember(group, key, entry, over)
            return
        for kept in entry.outcomes:
            if kept.due <= reached and not kept.joined:
                fate = OutcomeFate.OUTSIDE if kept.outside else OutcomeFate.NO_PREDICTION
                self._fates.outcome(fate)
                self._found.dead.append((kept.came, fate))
        entry.outcomes = [k for k in entry.outcomes if k.due > reached]

    def _remember(self, group: int, key: str, entry: KeyEntry, over: Sequence[Waiting]) -> None:
        due = self._due(self._now + self._terms.repeat)
        entry.past += [(due, _named(key, waiting.packed)) for waiting in over]
        del entry.past[: -self._terms.most_of_a_key]
        self._reminders[REPEATS, due, group].append(key)

    def _over(self, key: str, waiting: Waiting) -> None:
        if not waiting.revision:
            self._fates.prediction(PredictionFate.UNKNOWN)
            unknown = Settled(key, unpack(waiting.packed), None, None, 1)
            self._found.settled.append(unknown)
            self._found.closed.append(unknown)
        elif waiting.metrics is not None:
            predicted = unpack(waiting.packed)
            if not (predicted.experiments and predicted.entity):
                return  # no evidence
            came = Came(
                predicted.data_type,
                waiting.time,
                waiting.value,
                waiting.text,
                0,
                "",
                0,
                0,
                b"",
                waiting.metrics,
            )
            self._found.closed.append(Settled(key, predicted, came, OutcomeFate.JOINED, waiting.revision))

    def _load(self, wanted: Mapping[int, Iterable[str]]) -> None:
        """Have the entries of these keys, by key group, among those that this call has touched."""
        new: dict[int, list[str]] = {}
        for group, keys in wanted.items():
            entries = self._entries.setdefault(group, {})
            new[group] = [key for key in dict.fromkeys(keys) if key not in entries]
        for group, found in self._store.read(new).items():
            for key, data in zip(new[group], found, strict=True):
                self._entries[group][key] = KeyEntry([], []) if data is None else decode_entry(data)

    def _due(self, at: int) -> int:
        return (at // self._step + 1) * self._step


def _named(key: str, packed: Packed) -> str:
    """The identity of a prediction beside its key: nothing where the key is that."""
    return "" if key[0] == BY_IDENTITY else "/".join(map(str, unpack(packed).identity))


def _holds(entry: KeyEntry) -> bool:
    return bool(entry.predictions or entry.outcomes or entry.past)
