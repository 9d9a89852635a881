"""Which published models count for one data type: the rules of versions, and what survives a restart.

A log holds the entry that serves and the one that served before, the entries that wait to be loaded, attempts
to load each that came to no end, the highest version seen of each name, and what is in quarantine. It decides
without loading anything, so it is the same in every instance that saw the same stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from schemas.errors import StaleVersionError, VersionJumpError
from schemas.model_pb2 import ModelLog as Stored
from udfs.models.descriptor import Publication, parse

_NAMES_KEPT = 1000  # a bound on state: names whose history is remembered, a data type
_QUARANTINED_KEPT = 100
_LONGEST_REASON = 500
HIGHEST_VERSION = 2**63 - 1
"""What a reader of events and results can hold."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An accepted publication. `version` is the published one, or derived where none was given."""

    name: str
    version: int
    sha256: str
    descriptor: bytes = field(repr=False)
    signer: str = ""

    def publication(self) -> Publication:
        return replace(parse(self.descriptor), version=self.version)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A version that is not loaded until it is published again, and why. `since` is in epoch ms."""

    name: str
    version: int
    sha256: str
    reason: str
    since: int


class ModelLog:
    """The log of one data type. `encoded` and `decode` carry it through Flink state."""

    def __init__(self) -> None:
        self.served: LogEntry | None = None
        self.former: LogEntry | None = None
        self.pending: list[LogEntry] = []
        self.quarantined: list[Quarantined] = []
        self._newest: dict[str, int] = {}
        self._attempts: dict[LogEntry, int] = {}

    def accept(
        self, published: Publication, descriptor: bytes, most_jump: int | None = None
    ) -> LogEntry | None:
        """Take in a publication to serve: the new entry, or None where the same one is known already.

        Raises `StaleVersionError` for an older version, or for other content under a version already seen,
        unless the publication is forced. Only a version above all seen comes in without force. Raises
        `VersionJumpError` for one that is more than `most_jump` above: it would shut out all between.
        """
        latest = self._latest(published.name)
        if latest is not None and _same(latest, published) and not published.force:
            return None
        newest = self.newest(published.name)
        version = published.version or newest + 1
        if version > HIGHEST_VERSION:
            said = f"is above the highest, {HIGHEST_VERSION}"
            raise StaleVersionError(f"{published.name} version {version} {said}")
        if version <= newest and not published.force:
            what = "was seen before" if version == newest else f"is older than version {newest}"
            raise StaleVersionError(
                f"{published.name} version {version} {what}; publish it under a higher version, or force it"
            )
        if most_jump is not None and newest and version > newest + most_jump:
            raise VersionJumpError(
                f"{published.name} version {version} is more than {most_jump} above version {newest}; "
                "publish it under a lower one, or see models.version_jump"
            )
        entry = LogEntry(published.name, version, published.sha256, descriptor, published.signer)
        self.pending.append(entry)
        self.quarantined = [q for q in self.quarantined if (q.name, q.version) != (entry.name, entry.version)]
        # A forced step back does not lower the bar: were it to fail, older versions could slip in after it.
        self._remember(published.name, max(version, newest))
        return entry

    def newest(self, name: str) -> int:
        """The highest version seen of the name; 0 where none is remembered."""
        latest = self._latest(name)
        return self._newest.get(name, latest.version if latest else 0)

    def newest_pending(self) -> LogEntry | None:
        return self.pending[-1] if self.pending else None

    def begun(self, entry: LogEntry) -> int:
        """An attempt to load the entry begins: how many that makes. To be in state before it does."""
        self._attempts[entry] = self._attempts.get(entry, 0) + 1
        return self._attempts[entry]

    def attempts(self, entry: LogEntry) -> int:
        """Attempts to load the entry that have begun and came to no end that the log was told of."""
        return self._attempts.get(entry, 0)

    def loaded(self, entry: LogEntry) -> list[LogEntry]:
        """The entry serves now. Returns the waiting entries that it makes pointless."""
        at = self.pending.index(entry) if entry in self.pending else 0
        older, newer = self.pending[:at], self.pending[at:]  # a forced one may be both, equal to itself
        self.pending = [e for e in newer if e != entry]
        for one in (entry, *older):
            self._attempts.pop(one, None)
        if self.served is not None and self.served != entry:
            self.former = self.served
        self.served = entry
        return older

    def refused(self, entry: LogEntry) -> None:
        """A waiting entry could not be loaded: forget it, and let its version be published again.

        What serves goes on, even where a forced second load of the very same is what failed.
        """
        self._drop(entry)
        self._forget(entry)

    def quarantine(self, entry: LogEntry, reason: str, now_ms: int) -> None:
        """Set a version aside, waiting or serving. In place of one that served, what served before waits to
        be loaded, as the oldest of those that do."""
        if self.served == entry:
            self.served = None
            former, self.former = self.former, None
            if former is not None and former not in self.pending:
                self.pending.insert(0, former)
        self._drop(entry)
        self._forget(entry)
        self.quarantined.append(
            Quarantined(entry.name, entry.version, entry.sha256, reason[:_LONGEST_REASON], now_ms)
        )
        del self.quarantined[:-_QUARANTINED_KEPT]

    def unpublish(self, name: str) -> list[LogEntry]:
        """Drop the entries of this name, or all where it is empty. They may be published again."""
        gone = [e for e in self._newest_first() if not name or e.name == name]
        for entry in gone:
            self._drop(entry)
            if self.served == entry:
                self.served = self.former = None
            self._forget(entry)
        if self.former is not None and name in ("", self.former.name):
            self.former = None
        return gone

    def candidates(self) -> list[LogEntry]:
        """What to load after a restart: the newest first, the earlier ones in case it fails."""
        return list(self._newest_first())

    def encoded(self) -> bytes:
        stored = Stored(pending=[self._store(e) for e in self.pending], newest=self._newest)
        if self.served is not None:
            stored.served.CopyFrom(self._store(self.served))
        if self.former is not None:
            stored.former.CopyFrom(self._store(self.former))
        for q in self.quarantined:
            stored.quarantined.add(
                name=q.name, version=q.version, sha256=q.sha256, reason=q.reason, since=q.since
            )
        return stored.SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, data: bytes | None) -> ModelLog:
        """The log as it was encoded; an empty one for None."""
        log = cls()
        if data:
            stored = Stored.FromString(data)
            log.served = _entry(stored.served) if stored.HasField("served") else None
            log.former = _entry(stored.former) if stored.HasField("former") else None
            log.pending = [_entry(e) for e in stored.pending]
            entries, all_kept = (log.served, *log.pending), (stored.served, *stored.pending)
            for entry, kept in zip(entries, all_kept, strict=True):
                if entry is not None and kept.attempts:
                    log._attempts[entry] = kept.attempts
            log.quarantined = [
                Quarantined(q.name, q.version, q.sha256, q.reason, q.since) for q in stored.quarantined
            ]
            log._newest = dict(stored.newest)
        return log

    def _latest(self, name: str) -> LogEntry | None:
        return next((e for e in self._newest_first() if e.name == name), None)

    def _newest_first(self) -> Iterator[LogEntry]:
        yield from reversed(self.pending)
        if self.served is not None:
            yield self.served

    def _drop(self, entry: LogEntry) -> None:
        self.pending = [e for e in self.pending if e != entry]
        self._attempts.pop(entry, None)

    def _store(self, entry: LogEntry) -> Stored.Entry:
        return Stored.Entry(
            name=entry.name,
            version=entry.version,
            sha256=entry.sha256,
            descriptor=entry.descriptor,
            attempts=self._attempts.get(entry, 0),
            signer=entry.signer,
        )

    def _forget(self, entry: LogEntry) -> None:
        known = [e.version for e in self._newest_first() if e.name == entry.name]
        if self._newest.get(entry.name) == entry.version:
            self._newest[entry.name] = max(known, default=entry.version - 1)

    def _remember(self, name: str, version: int) -> None:
        self._newest.pop(name, None)
        self._newest[name] = version
        while len(self._newest) > _NAMES_KEPT:
            del self._newest[next(iter(self._newest))]


def _same(entry: LogEntry, published: Publication) -> bool:
    if published.sha256 and entry.sha256:
        return published.sha256 == entry.sha256 and published.version in (0, entry.version)
    return published.version != 0 and published.version == entry.version


def _entry(stored: Stored.Entry) -> LogEntry:
    return LogEntry(stored.name, stored.version, stored.sha256, stored.descriptor, stored.signer)
