"""Rows of quality in the registry, inside a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, func, inspect, select

from schemas.lifecycle.quality import QualityRecord
from udfs.stores.registry.model_records import check_storable
from udfs.stores.registry.model_rows import put_newest
from udfs.stores.registry.model_tables import QUALITY

MOST_QUALITY = 10_000
"""Rows of one model: by default `jobs/outcomes.py` tells no more apart of a whole data type."""


def put_quality(db: Connection, told: Sequence[QualityRecord]) -> int:
    """The newest of each key; how many were news."""
    newest: dict[str, QualityRecord] = {}
    for one in told:
        check_storable(data_type=one.data_type, name=name_of(one), version=one.version, at=one.at)
        known = newest.get(one.key)
        if known is None or known.at < one.at:
            newest[one.key] = one
    news, grown = 0, set()
    for key, one in newest.items():
        row_id = hashlib.sha256(key.encode()).hexdigest()
        row = {"at": one.at, "quality": msgspec.to_builtins(one)}
        about = {"data_type": one.data_type, "name": name_of(one), "version": one.version}
        at = put_newest(db, QUALITY, {"id": row_id}, row, about)
        if at is None:
            grown.add((one.data_type, name_of(one)))
        news += at is None or at < one.at
    for data_type, name in grown:
        _bound(db, data_type, name)
    return news


def qualities(db: Connection, name: str, version: int, data_type: str) -> list[QualityRecord]:
    """Of a version, by what it is of; none where the registry has been written by earlier releases only."""
    if not inspect(db).has_table(QUALITY.name):
        return []
    about = (QUALITY.c.data_type == data_type, QUALITY.c.name == name, QUALITY.c.version == version)
    rows = db.execute(select(QUALITY.c.quality).where(*about)).scalars()
    return sorted((msgspec.convert(row, QualityRecord) for row in rows), key=lambda one: one.key)


def name_of(told: QualityRecord) -> str:
    """Of the model, or of the candidate whose answers these are."""
    return told.candidate or told.model


def _bound(db: Connection, data_type: str, name: str) -> None:
    about = (QUALITY.c.data_type == data_type, QUALITY.c.name == name)
    count = db.execute(select(func.count()).select_from(QUALITY).where(*about)).scalar() or 0
    if count > MOST_QUALITY:
        oldest = select(QUALITY.c.id).where(*about).order_by(QUALITY.c.at, QUALITY.c.id)
        gone = oldest.limit(count - MOST_QUALITY).scalar_subquery()
        db.execute(delete(QUALITY).where(QUALITY.c.id.in_(gone)))
