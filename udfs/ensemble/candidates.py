"""What the router knows of one data type: whom it may ask, and by which plan. It loads nothing.

Versions follow the rules of `ModelLog`, name by name. Executors keep one of these too: they hear the same
stream, so they know whom the router asks. Of a plan, whatever its name, the newest accepted one is in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.model_pb2 import ModelDescriptor, RouterLog
from udfs.models.descriptor import Publication, parse
from udfs.models.model_log import LogEntry, ModelLog
from udfs.models.quotas import Quotas

_UNPUBLISHED_KEPT = 1000  # a bound on state: withdrawn names whose versions are remembered, a data type


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that can be asked, as it was published."""

    name: str
    model_type: str
    version: int
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Known:
    """A name's history, and its newest publication; `log.served` is None where it is withdrawn."""

    log: ModelLog
    model_type: str
    metrics: Mapping[str, float]


class Candidates:
    """The candidates and the plan of one data type. `encoded` and `decode` carry them through Flink state."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._plans = ModelLog()

    def publish(self, published: Publication, quotas: Quotas) -> bool:
        """Take in a model: whether that changed anything. Raises `QuotaError`, and as `ModelLog.accept`."""
        known = self._known.get(published.name) or _Known(ModelLog(), "", {})
        if known.log.served is None:
            quotas.check_candidates(len(self.all()))
        # an inline model has no business in the router's state
        entry = known.log.accept(published, b"", quotas.version_jump)
        if entry is None:
            return False
        known.log.loaded(entry)
        known.model_type, known.metrics = published.model_type, dict(published.metrics)
        self._known[published.name] = known
        return True

    def decide(
        self, published: Publication, descriptor: bytes, most_jump: int | None = None
    ) -> LogEntry | None:
        """Take in a plan that has been checked: its entry, or None for the one in force.

        Raises as `ModelLog.accept`.
        """
        entry = self._plans.accept(published, descriptor, most_jump)
        if entry is not None:
            self._plans.loaded(entry)
        return entry

    def unpublish(self, name: str) -> LogEntry | None:
        """Drop the candidate of this name, or all where it is empty.

        If the plan in force has the name, the default is in force again: returns the plan's entry then.
        """
        for known in self._known.values():
            known.log.unpublish(name)
        gone = [n for n, known in self._known.items() if known.log.served is None]
        for forgotten in gone[: max(0, len(gone) - _UNPUBLISHED_KEPT)]:
            del self._known[forgotten]
        return next(iter(self._plans.unpublish(name)), None) if name else None

    def drop_plan(self) -> list[LogEntry]:
        """Forget the plan in force, so that the default is: its entry, to be published again."""
        return self._plans.unpublish("")

    def all(self) -> dict[str, Candidate]:
        """The candidates by name, in order of their first publication."""
        return {
            name: Candidate(name, known.model_type, served.version, known.metrics)
            for name, known in self._known.items()
            if (served := known.log.served) is not None
        }

    def model_type(self, name: str) -> str:
        """The model type of the candidate of this name; empty where there is none."""
        known = self._known.get(name)
        return "" if known is None or known.log.served is None else known.model_type

    @property
    def plan(self) -> LogEntry | None:
        """The plan in force; None: the default."""
        return self._plans.served

    def plan_text(self) -> str:
        """The JSON of the plan in force; empty: the default."""
        return parse(self.plan.descriptor).plan if self.plan else ""

    def encoded(self) -> bytes:
        stored = RouterLog()
        for name, known in self._known.items():
            one = stored.candidates.add(
                name=name,
                modeltype=ModelDescriptor.ModelType.Value(known.model_type),
                metrics=known.metrics,
            )
            one.log.ParseFromString(known.log.encoded())
        stored.plans.ParseFromString(self._plans.encoded())
        return stored.SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, data: bytes | None) -> Candidates:
        """The candidates as they were encoded; none for None."""
        candidates = cls()
        if data:
            stored = RouterLog.FromString(data)
            for one in stored.candidates:
                log = ModelLog.decode(one.log.SerializeToString())
                model_type = ModelDescriptor.ModelType.Name(one.modeltype)
                candidates._known[one.name] = _Known(log, model_type, dict(one.metrics))
            candidates._plans = ModelLog.decode(stored.plans.SerializeToString())
        return candidates
