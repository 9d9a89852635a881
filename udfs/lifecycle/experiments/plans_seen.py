"""Which plans are in force, as the jobs that follow them count: whoever published them, and whenever."""

from __future__ import annotations

from schemas.errors import StaleVersionError
from udfs.models.descriptor import Publication
from udfs.models.model_log import ModelLog


class PlansSeen:
    """What the model stream has said of plans, by data type. State lives with the caller, who hands it in
    once by `restore` and takes it out by `log` after `changed` has named the data type.

    All plans of the stream count, also of data types without experiments: a later experiment's must be above
    them.
    """

    def __init__(self) -> None:
        self._logs: dict[str, ModelLog] = {}
        self._news: dict[str, None] = {}

    def restore(self, data_type: str, stored: bytes) -> None:
        self._logs[data_type] = ModelLog.decode(stored)

    def changed(self) -> list[str]:
        """The data types of which something is new since the last call."""
        data_types, self._news = list(self._news), {}
        return data_types

    def log(self, data_type: str) -> bytes:
        """The state of a data type."""
        return self._logs[data_type].encoded()

    def take(self, plan: Publication) -> int | None:
        """The version of a plan that is in force from now on; None for one that jobs refuse as too old, or
        follow already."""
        log = self._logs.get(plan.data_type) or ModelLog()
        try:
            entry = log.accept(plan, b"")
        except StaleVersionError:
            return None
        if entry is None:
            return None
        log.loaded(entry)
        self._logs[plan.data_type] = log
        self._news[plan.data_type] = None
        return entry.version

    def withdraw(self, data_type: str, name: str) -> None:
        """The plan of this name is withdrawn. Jobs keep theirs where only models are."""
        log = self._logs.get(data_type)
        if log is not None and name and log.unpublish(name):
            self._news[data_type] = None

    def newest(self, data_type: str, name: str) -> int:
        """The highest version of the name; 0 where none is known."""
        log = self._logs.get(data_type)
        return 0 if log is None else log.newest(name)
