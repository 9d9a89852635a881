"""Who served when: intervals from what jobs told, in whatever order it was told, and once or twice.

Events say when an instance began; that it ended is told by its last statistics (`serving` false), by a
withdrawal or a quarantine, or by its next beginning. A job that is cancelled or killed tells nothing: its
intervals stay open, and `seen` says until when they are known of.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import NamedTuple

from schemas.results.records import EventKind, ModelEvent, ModelToServeStats

Events = Iterable[tuple[str, ModelEvent]]
Statistics = Iterable[tuple[str, ModelToServeStats]]

MODEL, PLAN = "model", "plan"
_BEGINS = {EventKind.SERVED: MODEL, EventKind.DECIDES: PLAN}
_ENDS = {EventKind.WITHDRAWN: "withdrawn", EventKind.QUARANTINED: "quarantined"}
_REPLACED = "replaced"
_AT_ONCE_MS = 1000
"""Between the beginning that statistics name, or the end, and the event about it."""


@dataclass(frozen=True, slots=True)
class Served:
    """A version in force, from `since` up to before `until` (epoch ms; None: no end is known), on the
    instances of a job. `kind`: MODEL or PLAN; `seen`: when it was last told of; `ended`: how."""

    job: str
    kind: str
    data_type: str
    name: str
    version: int
    digest: str
    since: int
    until: int | None
    seen: int
    subtasks: frozenset[int]
    ended: str = ""

    def at(self, time: int) -> bool:
        return self.since <= time and (self.until is None or time < self.until)

    @property
    def what(self) -> tuple[str, str, str, str, int, str]:
        return self.job, self.kind, self.data_type, self.name, self.version, self.digest


def served(events: Events, statistics: Statistics) -> list[Served]:
    """The intervals of models and plans, in the order of their beginnings.

    What instances have of one version is one interval, for as long as any of them has it, restarts included.
    """
    places: defaultdict[tuple[str, ...], _Place] = defaultdict(_Place)
    for job, event in events:
        if kind := _BEGINS.get(event.kind):
            places[_place(job, kind, event)].begins.append(event)
        elif event.kind in _ENDS:
            for kind in (MODEL, PLAN):
                places[_place(job, kind, event)].ends.append(event)
    for job, told in statistics:
        places[_place(job, MODEL, told)].told.append(told)
    alone = [one for (job, kind, *_), place in places.items() for one in place.intervals(job, kind)]
    return sorted(_joined(_unheard(alone)), key=lambda s: (s.since, s.what))


def serving_at(intervals: Iterable[Served], time: int) -> list[Served]:
    """Those in force at a time."""
    return [one for one in intervals if one.at(time)]


def used(interval: Served, statistics: Statistics) -> list[ModelToServeStats]:
    """The statistics of an interval: of each instance, since each time that it switched the version on."""
    end = interval.until
    return [
        told
        for job, told in statistics
        if (job, told.data_type, told.name, told.version, told.digest)
        == (interval.job, interval.data_type, interval.name, interval.version, interval.digest)
        and interval.since <= told.at
        and (end is None or told.since < end)
    ]


def _place(job: str, kind: str, about: ModelEvent | ModelToServeStats) -> tuple[str, ...]:
    """Where one thing of a kind is in force at a time. A data type has one plan, whatever its name."""
    name = about.name if kind == MODEL else ""
    return job, kind, about.data_type, name, str(about.subtask)


class _Begin(NamedTuple):
    at: int
    data_type: str
    name: str
    version: int
    digest: str
    subtask: int


class _Place:
    """What one instance told of one name."""

    def __init__(self) -> None:
        self.begins: list[ModelEvent] = []
        self.ends: list[ModelEvent] = []
        self.told: list[ModelToServeStats] = []

    def intervals(self, job: str, kind: str) -> list[Served]:
        begins = sorted(
            {_Begin(b.at, b.data_type, b.name, b.version, b.digest, b.subtask) for b in self.begins}
        )
        told_of = self._told_of(begins)
        found = []
        for begin, following in zip_longest(begins, begins[1:]):
            if begin is None:
                break
            told = told_of[begin]
            until, ended = self._end(begin, following, told)
            found.append(
                Served(
                    job=job,
                    kind=kind,
                    data_type=begin.data_type,
                    name=begin.name,
                    version=begin.version,
                    digest=begin.digest,
                    since=begin.at,
                    until=until,
                    seen=max([begin.at, *(t.at for t in told)]),
                    subtasks=frozenset({begin.subtask}),
                    ended=ended,
                )
            )
        return found

    def _told_of(self, begins: list[_Begin]) -> dict[_Begin, list[ModelToServeStats]]:
        """The statistics of each beginning; those of none that was told of make one, which is put in."""
        found: defaultdict[_Begin, list[ModelToServeStats]] = defaultdict(list)
        for told in sorted(self.told, key=lambda t: (t.since, t.at)):
            own = _Begin(told.since, told.data_type, told.name, told.version, told.digest, told.subtask)
            same = [b for b in begins if b[1:] == own[1:] and b.at >= told.since]
            if not same or same[0].at - told.since > _AT_ONCE_MS:
                insort(begins, own)
                same = [own]
            # A model that goes on counting although it was loaded again: what it says is of the last load.
            found[max((b for b in same if b.at < told.at), default=same[0])].append(told)
        return found

    def _end(
        self, begin: _Begin, following: _Begin | None, told: Sequence[ModelToServeStats]
    ) -> tuple[int | None, str]:
        """When and how what began ended."""
        ends = [(t.at, _REPLACED) for t in told if not t.serving]
        ends += [
            (e.at, _ENDS[e.kind])
            for e in self.ends
            if (e.name, e.version) == (begin.name, begin.version) and e.at >= begin.at
        ]
        if following is not None:
            again = (following.name, following.version, following.digest) == begin[2:5]
            ends = [e for e in ends if e[0] <= following.at]
            ends.append((following.at, "restarted" if again else _REPLACED))
        if not ends:
            return None, ""
        until, how = min(ends)
        if how == _REPLACED:  # statistics do not say why, and events come a moment after them
            how = next((e[1] for e in ends if e[1] in _ENDS.values() and e[0] - until <= _AT_ONCE_MS), how)
        return until, how


def _unheard(alone: Sequence[Served]) -> list[Served]:
    """An instance may be gone, at another parallelism: what it had ends when another takes over from that
    version, unless it was heard of since."""
    begins: defaultdict[tuple[str, ...], list[Served]] = defaultdict(list)
    for one in alone:
        begins[_group(one)].append(one)
    found = []
    for one in alone:
        later = [
            o.since
            for o in begins[_group(one)]
            if one.until is None and o.since > one.seen and (o.version, o.digest) != (one.version, one.digest)
        ]
        found.append(replace(one, until=min(later), ended="not heard of again") if later else one)
    return found


def _group(one: Served) -> tuple[str, ...]:
    return one.job, one.kind, one.data_type, one.name if one.kind == MODEL else ""


def _joined(alone: Sequence[Served]) -> list[Served]:
    """Intervals of one version that touch each other, as one."""
    groups: defaultdict[tuple[object, ...], list[Served]] = defaultdict(list)
    for one in sorted(alone, key=lambda s: s.since):
        group = groups[one.what]
        last = group[-1] if group else None
        if last is None or (last.until is not None and one.since > last.until):
            group.append(one)
            continue
        open_end = last.until is None or one.until is None
        longer = one if last.until is not None and (one.until or 0) >= last.until else last
        group[-1] = replace(
            last,
            until=None if open_end else longer.until,
            ended="" if open_end else longer.ended,
            seen=max(last.seen, one.seen),
            subtasks=last.subtasks | one.subtasks,
        )
    return [one for group in groups.values() for one in group]
