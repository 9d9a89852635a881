"""Which plans are in force, as the jobs that follow them count: whoever published them, and whenever.

The controller reads its own plans back, a while after it has written them: others may have come between.
Until then it cannot say what will be in force, and waits for its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from schemas.errors import StaleVersionError, StateError, VersionJumpError
from schemas.versioned import read_versioned
from udfs.models.descriptor import Publication
from udfs.models.model_log import LogEntry, ModelLog

VERSION = 1


class WrittenPlan(NamedTuple):
    """A plan of the controller's, by its content. `digest`: SHA-256 of its text, whatever is said of it."""

    name: str
    version: int
    digest: bytes


class PlanLog(msgspec.Struct):
    """`versions`: a `ModelLog` of plans. `plan`: the text of the one in force, where there is one. `written`:
    what was written and has not been read back, the last one of each name, in order."""

    versions: bytes = b""
    plan: str = ""
    written: list[WrittenPlan] = []
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class InForce:
    """The plan that jobs follow; `text`: its JSON."""

    name: str
    version: int
    text: str


@dataclass(slots=True)
class _Seen:
    versions: ModelLog = field(default_factory=ModelLog)
    plan: str = ""
    written: list[WrittenPlan] = field(default_factory=list)

    @property
    def in_force(self) -> InForce | None:
        served = self.versions.served
        return None if served is None else InForce(served.name, served.version, self.plan)

    @property
    def settled(self) -> bool:
        """Whether no plan that was written may take force yet. Jobs refuse one below what they know."""
        return all(one.version < self.versions.newest(one.name) for one in self.written)


class PlansSeen:
    """What the model stream has said of plans, by data type. State lives with the caller, who hands it in
    once by `restore` and takes it out by `log` after `changed` has named the data type.

    All plans of the stream count, also of data types without experiments: a later experiment's must be above
    them. `most_jump`: the jobs' setting `models.version_jump`.
    """

    def __init__(self, most_jump: int | None = None) -> None:
        self._most_jump = most_jump
        self._types: dict[str, _Seen] = {}
        self._news: dict[str, None] = {}

    def restore(self, data_type: str, stored: bytes) -> None:
        """Raises `StateError` for bytes that `log` did not give, and for those of a newer release."""
        if stored[:1] < b"\x80":  # from before plans on their way were kept: a `ModelLog` alone
            self._types[data_type] = _Seen(ModelLog.decode(stored))
            return
        log = read_versioned(_LOG.decode, stored, "plans of a controller", VERSION, StateError)
        self._types[data_type] = _Seen(ModelLog.decode(log.versions), log.plan, log.written)

    def changed(self) -> list[str]:
        """The data types of which something is new since the last call."""
        data_types, self._news = list(self._news), {}
        return data_types

    def log(self, data_type: str) -> bytes:
        """The state of a data type."""
        seen = self._types[data_type]
        return msgspec.msgpack.encode(PlanLog(seen.versions.encoded(), seen.plan, seen.written))

    def write(self, data_type: str, name: str, version: int, plan: bytes) -> None:
        """The controller writes this plan now."""
        seen = self._types.get(data_type) or _Seen()
        others = [one for one in seen.written if one.name != name]
        seen.written = [*others, WrittenPlan(name, version, hashlib.sha256(plan).digest())]
        self._change(data_type, seen)

    def take(self, plan: Publication) -> bool:
        """Take in a plan that jobs can read. Whether the caller has to look at what is in force: something
        has changed, it is not the plan that was written last, and none is to come that takes its place."""
        seen = self._types.get(plan.data_type) or _Seen()
        own = _content(plan)
        awaited = own in seen.written
        if awaited:  # what was written before it has come too, or is lost
            del seen.written[: seen.written.index(own) + 1]
        entry = self._accepted(seen.versions, plan)
        if entry is not None:
            seen.versions.loaded(entry)
            seen.plan = plan.plan
        elif not awaited:
            return False
        self._change(plan.data_type, seen)
        expected = InForce(plan.name, plan.version, plan.plan)
        return seen.settled and not (awaited and seen.in_force == expected)

    def withdraw(self, data_type: str, name: str) -> bool:
        """The plan of this name is withdrawn. Jobs keep theirs where only models are. Returns as `take`."""
        seen = self._types.get(data_type)
        if seen is None or not name or not seen.versions.unpublish(name):
            return False
        self._change(data_type, seen)
        return seen.settled

    def in_force(self, data_type: str) -> InForce | None:
        """By what was read here; None: the default plan."""
        seen = self._types.get(data_type)
        return None if seen is None else seen.in_force

    def next_version(self, data_type: str, name: str, least: int) -> int:
        """A version that jobs take of the plan that is written next: `least` where they do."""
        seen = self._types.get(data_type) or _Seen()
        coming = [one.version for one in seen.written if one.name == name]
        newest = max(seen.versions.newest(name), *coming, 0)
        version = max(least, newest + 1)
        return min(version, newest + self._most_jump) if newest and self._most_jump else version

    def _accepted(self, versions: ModelLog, plan: Publication) -> LogEntry | None:
        try:
            return versions.accept(plan, b"", self._most_jump)
        except (StaleVersionError, VersionJumpError):
            return None

    def _change(self, data_type: str, seen: _Seen) -> None:
        self._types[data_type] = seen
        self._news[data_type] = None


def _content(plan: Publication) -> WrittenPlan:
    return WrittenPlan(plan.name, plan.version, hashlib.sha256(plan.plan.encode()).digest())


_LOG = msgspec.msgpack.Decoder(PlanLog)
