"""Rows of what experiments did, inside a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, inspect, select

from schemas.lifecycle.experiments import ExperimentEvent, write_event
from udfs.stores.registry.model_records import check_storable
from udfs.stores.registry.model_rows import insert_new
from udfs.stores.registry.model_tables import EXPERIMENTS


def put_experiments(db: Connection, told: Sequence[ExperimentEvent]) -> int:
    """Those that are not there; how many these were."""
    rows = {}
    for one in told:
        check_storable(data_type=one.data_type, experiment=one.experiment, at=one.at)
        row_id = hashlib.sha256(write_event(one)).hexdigest()
        about = {"data_type": one.data_type, "experiment": one.experiment, "at": one.at}
        rows[row_id] = {"id": row_id, **about, "event": msgspec.to_builtins(one)}
    return insert_new(db, EXPERIMENTS, rows)


def experiments_with(db: Connection, model: str, data_type: str) -> list[ExperimentEvent]:
    """Those with the model in an arm, or in the place of which another came, in the order of time; none where
    the registry has been written by earlier releases only."""
    if not inspect(db).has_table(EXPERIMENTS.name):
        return []
    asked = select(EXPERIMENTS.c.event).order_by(EXPERIMENTS.c.at, EXPERIMENTS.c.id)
    if data_type:
        asked = asked.where(EXPERIMENTS.c.data_type == data_type)
    told = (msgspec.convert(row, ExperimentEvent) for row in db.execute(asked).scalars())
    return [one for one in told if model in (one.replaced, *(arm.model for arm in one.arms.values()))]
