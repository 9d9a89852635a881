"""The point-in-time join in DuckDB over Arrow, in memory: what jobs/training_set.py is held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import FeatureError
from schemas.features.feature_batch import ARROW, CREATED, TIMESTAMP
from tests.training_history import ORDINAL, read_history
from udfs.io.s3 import S3Options
from udfs.stores.training.base import WantedFeatures
from udfs.stores.training.labels import keys, result_names, times

# Nothing is looked for in the network, nor among the variables of who calls.
_CLOSED: dict[str, Any] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}


class DuckPointInTime:
    """The rule of `udfs.stores.training.base`. `s3` reaches history that lies there."""

    def __init__(self, s3: S3Options | None = None) -> None:
        self._s3 = s3 or S3Options()

    def join(
        self, labels: pa.Table, timestamp: str, wanted: Sequence[WantedFeatures], known_at: str = ""
    ) -> pa.Table:
        names = result_names(labels.schema.names, wanted)
        asked = {"row": pa.array(range(len(labels)), pa.int64()), "t": times(labels, timestamp)}
        if known_at:
            asked["known"] = times(labels, known_at)
        for one, called in zip(wanted, names, strict=True):
            own = {f"k{n}": key for n, key in enumerate(keys(labels, one))}
            joined = self._join(pa.table({**asked, **own}), one)
            kinds = dict(one.view.features)
            for n, (feature, name) in enumerate(zip(one.features, called, strict=True)):
                labels = labels.append_column(name, joined.column(f"f{n}").cast(ARROW[kinds[feature]]))
        return labels

    def _join(self, asked: pa.Table, wanted: WantedFeatures) -> pa.Table:
        view = wanted.view
        span = pc.min_max(asked.column("t")).as_py()
        since, until = (span["min"] or 0) - view.ttl_ms, span["max"] or 0
        features = tuple(dict.fromkeys(wanted.features))
        rows = read_history(view, features, wanted.history, since=since, until=until, s3=self._s3)
        with duckdb.connect(":memory:", config=_CLOSED) as db:
            db.register("asked", asked)
            db.register("history", rows)
            try:
                return db.sql(_sql(wanted, "known" in asked.column_names)).to_arrow_table()
            except duckdb.Error as e:
                # what our reader raised comes back as text
                raise FeatureError(f"history of {view.id} cannot be joined: {e}") from e


def _sql(wanted: WantedFeatures, with_known: bool) -> str:
    ttl, entity = wanted.view.ttl_ms, [_quoted(name) for name, _ in wanted.view.entity]
    same = " AND ".join(f"asked.k{n} = rows.{name}" for n, name in enumerate(entity))
    at, created = f"rows.{TIMESTAMP}", f"rows.{CREATED}"
    shown = [
        f"CASE WHEN asked.t - {at} <= {ttl} THEN rows.{_quoted(name)} END AS f{n}"
        for n, name in enumerate(wanted.features)
    ]
    head = f"SELECT {', '.join(shown)} FROM asked"
    if with_known:
        return f"""{head} LEFT JOIN history AS rows
            ON {same} AND {at} <= asked.t AND asked.t - {at} <= {ttl} AND {created} <= asked.known
            QUALIFY ROW_NUMBER() OVER (
                PARTITION BY asked.row ORDER BY {at} DESC, {created} DESC, rows.{ORDINAL} DESC) = 1
            ORDER BY asked.row"""
    return f"""WITH rows AS (
            SELECT * FROM history QUALIFY ROW_NUMBER() OVER (
                PARTITION BY {", ".join(entity)}, {TIMESTAMP} ORDER BY {CREATED} DESC, {ORDINAL} DESC) = 1)
        {head} ASOF LEFT JOIN rows ON {same} AND asked.t >= {at} ORDER BY asked.row"""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
