"""Models in the registry: what was published, under which aliases, and what jobs told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import orjson
from sqlalchemy import Connection, Table, insert, inspect, select

from schemas.errors import RegistryError
from schemas.lifecycle.experiments import ExperimentEvent
from schemas.lifecycle.quality import QualityRecord
from schemas.names import fault_of_alias
from schemas.results.records import CandidateStats, ModelEvent, ModelToServeStats, decode
from schemas.utc_time import utc_time
from udfs.stores.registry.database import Database
from udfs.stores.registry.model_experiments import experiments_with, put_experiments
from udfs.stores.registry.model_quality import put_quality, qualities
from udfs.stores.registry.model_records import (
    AliasChange,
    RegisteredModel,
    RegisteredPlan,
    StoredContent,
    check_storable,
    merged,
    plain,
)
from udfs.stores.registry.model_rows import insert_new, models_where, put_newest, same_key, write_model
from udfs.stores.registry.model_tables import ALIASES, CONTENTS, EVENTS, PLANS, STATISTICS, VERSIONS

ModelStats = ModelToServeStats | CandidateStats

_CANDIDATE = "candidate"


class ModelRegistry:
    """The models of a registry; `url`: see `udfs.stores.registry.DEFAULT_URL`.

    Whatever is put in again changes nothing. All raise `RegistryError` (unknown model, a name too long, no
    registry) and `StoreError` (database away). May be used from several threads and processes at once.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def make(self) -> None:
        """Make the tables where they are not there: then the registry can be written."""
        with self._database.writing():
            pass

    def put(self, model: RegisteredModel, contents: Sequence[StoredContent] = ()) -> RegisteredModel:
        """Enter what its publisher says of a model, which counts more than what is there; the whole."""
        return self._put(model, contents, publisher=True)

    def put_seen(self, model: RegisteredModel, contents: Sequence[StoredContent] = ()) -> RegisteredModel:
        """Enter what a stream says of a model, which counts less than what is there; the whole."""
        return self._put(model, contents, publisher=False)

    def models(self, name: str = "", data_type: str = "") -> list[RegisteredModel]:
        """All of them, or those of that name and data type, in the order of creation."""
        with self._reading() as db:
            return models_where(db, *_where(VERSIONS, name=name, data_type=data_type))

    def model(self, name: str, version: int | str, data_type: str = "") -> RegisteredModel:
        """The model of that version, or that an alias stands for; of contents forced on one version the
        last. Raises `RegistryError` where there is none, or several data types have one."""
        if isinstance(version, str):
            change = self.alias(name, version, data_type)
            version, data_type = change.version, change.data_type
        found = [m for m in self.models(name, data_type) if m.version == version]
        if not found:
            known = ", ".join(str(m.version) for m in self.models(name, data_type)[-10:])
            has = f"the newest that it knows are {known}" if known else "it knows none of that name"
            raise RegistryError(f"the registry has no version {version} of model {name!r}: {has}")
        _check_one({m.data_type for m in found}, f"version {version} of {name!r}")
        return found[-1]

    def by_stamp(self, data_type: str, name: str, version: int, digest: str) -> RegisteredModel | None:
        """The model that a result's stamp names; `digest` is the beginning of one."""
        found = [m for m in self.models(name, data_type) if m.version == version]
        return next((m for m in reversed(found) if m.digest.startswith(digest)), None)

    def contents(self, digest: str) -> list[StoredContent]:
        """Where the content of that digest lies."""
        with self._reading() as db:
            asked = select(CONTENTS).where(CONTENTS.c.digest == digest).order_by(CONTENTS.c.location)
            return [StoredContent(**row) for row in db.execute(asked).mappings()]

    def set_alias(self, change: AliasChange) -> bool:
        """Let an alias stand for another version, or with version 0 for none; whether that was news.

        Raises `RegistryError` for a version that is not registered.
        """
        check_storable(data_type=change.data_type, name=change.name, alias=change.alias)
        # an earlier release took more, which may be taken back
        if change.version and (fault := fault_of_alias(change.alias)):
            raise RegistryError(fault)
        with self._database.writing() as db:
            one = {"data_type": change.data_type, "name": change.name}
            key = {**one, "version": change.version}
            if (
                change.version
                and not db.execute(select(VERSIONS.c.digest).where(same_key(VERSIONS, key))).first()
            ):
                raise RegistryError(
                    f"the registry has no version {change.version} of model {change.name!r} for "
                    f"{change.data_type!r}: `millrace models list` shows those it knows"
                )
            changes = _changes(db, **one, alias=change.alias)
            in_force = changes[-1].version if changes else 0
            if in_force == change.version:
                return False
            if changes and changes[-1].at >= change.at:
                raise RegistryError(_told_later(changes[-1], change))
            db.execute(insert(ALIASES).values(**asdict(change)))
        return True

    def alias(self, name: str, alias: str, data_type: str = "") -> AliasChange:
        """What an alias stands for. Raises `RegistryError` where it stands for nothing."""
        newest = {c.data_type: c for c in self.alias_changes(name, data_type) if c.alias == alias}
        found = [c for c in newest.values() if c.version]
        if not found:
            raise RegistryError(f"{alias!r} is no alias of model {name!r}: `millrace models list` shows them")
        _check_one({c.data_type for c in found}, f"the alias {alias!r} of {name!r}")
        return found[0]

    def alias_changes(self, name: str = "", data_type: str = "") -> list[AliasChange]:
        """The history of aliases, the oldest change first."""
        with self._reading() as db:
            return _changes(db, name=name, data_type=data_type)

    def put_plan(self, plan: RegisteredPlan) -> None:
        check_storable(data_type=plan.data_type, name=plan.name, version=plan.version, digest=plan.digest)
        with self._database.writing() as db:
            key = {n: getattr(plan, n) for n in ("data_type", "name", "version", "digest")}
            if db.execute(select(PLANS.c.version).where(same_key(PLANS, key))).first() is None:
                db.execute(insert(PLANS).values(**{**asdict(plan), "description": plain(plan.description)}))

    def plans(self, name: str = "", data_type: str = "") -> list[RegisteredPlan]:
        """Plans in the order of their creation."""
        with self._reading() as db:
            asked = select(PLANS).where(*_where(PLANS, name=name, data_type=data_type))
            rows = db.execute(asked.order_by(PLANS.c.created, PLANS.c.version)).mappings()
            return [RegisteredPlan(**row) for row in rows]

    def add_events(self, job: str, events: Sequence[ModelEvent]) -> int:
        """Enter what a job told of models; how many of it were news."""
        rows = {}
        for event in events:
            check_storable(
                job=job,
                data_type=event.data_type,
                name=event.name,
                version=event.version,
                digest=event.digest,
                at=event.at,
                subtask=event.subtask,
            )
            told = asdict(event)
            if not told["code"]:  # an event of a release that did not tell it is the one that is there
                del told["code"]
            row_id = hashlib.sha256(orjson.dumps([job, told], option=orjson.OPT_SORT_KEYS)).hexdigest()
            about = {"data_type": event.data_type, "name": event.name, "at": event.at}
            rows[row_id] = {"id": row_id, "job": job, **about, "event": told}
        with self._database.writing() as db:
            return insert_new(db, EVENTS, rows)

    def events(
        self, name: str = "", data_type: str = "", until: int | None = None
    ) -> list[tuple[str, ModelEvent]]:
        """(job, event) up to a time, in the order of times."""
        conditions = _where(EVENTS, name=name, data_type=data_type)
        if until is not None:
            conditions.append(EVENTS.c.at <= until)
        with self._reading() as db:
            asked = select(EVENTS.c.job, EVENTS.c.event).where(*conditions).order_by(EVENTS.c.at, EVENTS.c.id)
            return [(job, decode(ModelEvent, orjson.dumps(told))) for job, told in db.execute(asked)]

    def add_statistics(self, job: str, told: Sequence[ModelStats]) -> int:
        """Enter a job's statistics, of which the newest of each instance are kept; how many were news."""
        news = 0
        with self._database.writing() as db:
            for one in told:
                key: dict[str, Any] = {
                    "job": job,
                    "kind": _CANDIDATE if isinstance(one, CandidateStats) else "model",
                    "data_type": one.data_type,
                    "name": one.candidate if isinstance(one, CandidateStats) else one.name,
                    "version": one.version,
                    "digest": one.digest,
                    "subtask": one.subtask,
                    "since": one.since,
                }
                check_storable(**key, at=one.at)
                at = put_newest(db, STATISTICS, key, {"at": one.at, "statistics": asdict(one)})
                news += at is None or at < one.at
        return news

    def statistics(self, name: str = "", data_type: str = "") -> list[tuple[str, ModelStats]]:
        """(job, statistics) of every instance since it switched a version on."""
        with self._reading() as db:
            asked = select(STATISTICS.c.job, STATISTICS.c.kind, STATISTICS.c.statistics)
            asked = asked.where(*_where(STATISTICS, name=name, data_type=data_type))
            rows = db.execute(asked.order_by(STATISTICS.c.since, STATISTICS.c.subtask))
            return [(job, _told(kind, orjson.dumps(told))) for job, kind, told in rows]

    def add_quality(self, told: Sequence[QualityRecord]) -> int:
        """Enter how good predictions were since the start, of which the newest of each key is kept; how many
        were news. Of a model's, those told longest ago go where there are more than `MOST_QUALITY`."""
        with self._database.writing() as db:
            return put_quality(db, told)

    def quality(self, name: str, version: int, data_type: str) -> list[QualityRecord]:
        """How good a version was since the start, the newest of each key: as a model, and as a candidate."""
        with self._reading() as db:
            return qualities(db, name, version, data_type)

    def add_experiments(self, told: Sequence[ExperimentEvent]) -> int:
        """Enter what experiments did; how many of it were news."""
        with self._database.writing() as db:
            return put_experiments(db, told)

    def experiments(self, name: str, data_type: str = "") -> list[ExperimentEvent]:
        """What experiments with a model of that name did, in the order of time."""
        with self._reading() as db:
            return experiments_with(db, name, data_type)

    def close(self) -> None:
        self._database.close()

    def _put(
        self, model: RegisteredModel, contents: Sequence[StoredContent], *, publisher: bool
    ) -> RegisteredModel:
        data_type, name, version, digest = model.key
        check_storable(data_type=data_type, name=name, version=version, digest=digest)
        check_storable(**{f"the metric {m.name[:60]}": f"{m.name}{m.dataset}" for m in model.metrics})
        with self._database.writing() as db:
            key = dict(zip(("data_type", "name", "version", "digest"), model.key, strict=True))
            known = models_where(db, same_key(VERSIONS, key))
            whole = model
            if known:
                whole = merged(model, known[0]) if publisher else merged(known[0], model)
            if not known or whole != known[0]:
                write_model(db, whole, known=bool(known))
            for content in contents:
                place = {"digest": content.digest, "location": content.location}
                if db.execute(select(CONTENTS.c.size).where(same_key(CONTENTS, place))).first() is None:
                    db.execute(insert(CONTENTS).values(**asdict(content)))
        return whole

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._database.reading() as db:
            if not inspect(db).has_table(VERSIONS.name):
                raise RegistryError(
                    f"the registry at {self._database} is of a release that kept no models: "
                    "`millrace publish --registry` and jobs/track.py add them"
                )
            yield db


def _told_later(last: AliasChange, change: AliasChange) -> str:
    which = f"the alias {change.alias} of {change.name} was changed at {utc_time(last.at)}"
    by = f" by {last.by}" if last.by else ""
    said = f"{which}{by}, which is not before {utc_time(change.at)}"
    return f"{said}: the later one counts; correct the clock that was wrong, and try again after that time"


def _told(kind: str, told: bytes) -> ModelStats:
    return decode(CandidateStats, told) if kind == _CANDIDATE else decode(ModelToServeStats, told)


def _where(table: Table, **wanted: str) -> list[Any]:
    return [table.c[column] == value for column, value in wanted.items() if value]


def _changes(db: Connection, **wanted: str) -> list[AliasChange]:
    rows = db.execute(select(ALIASES).where(*_where(ALIASES, **wanted)).order_by(ALIASES.c.at)).mappings()
    return [AliasChange(**row) for row in rows]


def _check_one(data_types: set[str], what: str) -> None:
    if len(data_types) > 1:
        names = ", ".join(sorted(data_types))
        raise RegistryError(f"{what} is there for the data types {names}: say which with --data-type")
