"""The point-in-time join as Flink SQL, for a batch job: labels and history in, labels with features out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyflink.table import StatementSet, StreamTableEnvironment

from operators.sinks.history_sink import SQL_TYPES
from operators.table_options import options
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import CREATED, TIMESTAMP
from udfs.stores.training.base import WantedFeatures

_PARQUET = {
    "connector": "filesystem",
    "format": "parquet",
    "parquet.utc-timezone": "true",
    "parquet.write.int64.timestamp": "true",
}


@dataclass(frozen=True, slots=True)
class Labels:
    """`columns`: name -> SQL type, in order. `timestamp`, `known_at`: of them, BIGINT (epoch milliseconds) or
    TIMESTAMP; the latter may be empty. `url`: a file or a folder."""

    url: str
    columns: Mapping[str, str]
    timestamp: str
    known_at: str = ""


def add_training_set(
    tables: StreamTableEnvironment,
    statements: StatementSet,
    labels: Labels,
    *,
    wanted: Sequence[WantedFeatures],
    names: Sequence[Sequence[str]],
    out: str,
) -> None:
    """Write to `out` the labels with the features of `wanted`, called as `names` says. The rule is that of
    `udfs.stores.training.base`; TIMESTAMP features are epoch milliseconds."""
    columns = [f"{_q(name)} {kind}" for name, kind in labels.columns.items()]
    _table(tables, "labels_in", columns, labels.url)
    known = f", {_millis(labels, labels.known_at)} AS `__known`" if labels.known_at else ""
    at = f"{_millis(labels, labels.timestamp)} AS `__t`"
    tables.execute_sql(f"CREATE TEMPORARY VIEW labels AS SELECT *, {at}{known} FROM labels_in")
    joins, features, kinds = [], [], []
    for n, (one, called) in enumerate(zip(wanted, names, strict=True)):
        seen = _seen(tables, n, one, bool(known))
        keys = ["__t", *(["__known"] if known else [])]
        same = [f"{seen}.`{key}` = labels.`{key}`" for key in keys]
        same += [f"{seen}.`k{i}` = labels.{_q(name)}" for i, name in enumerate(one.entity_columns)]
        joins.append(f"LEFT JOIN {seen} ON {' AND '.join(same)}")
        features += [f"{seen}.`f{i}` AS {_q(name)}" for i, name in enumerate(called)]
        kinds += [
            f"{_q(name)} {_result_type(one, feature)}"
            for feature, name in zip(one.features, called, strict=True)
        ]
    _table(tables, "training_set", [*columns, *kinds], out)
    chosen = [*(f"labels.{_q(name)}" for name in labels.columns), *features]
    statements.add_insert_sql(
        f"INSERT INTO training_set SELECT {', '.join(chosen)} FROM labels {' '.join(joins)}"
    )


def _seen(tables: StreamTableEnvironment, n: int, wanted: WantedFeatures, with_known: bool) -> str:
    """The name of a view: each entity `k0...` and time `__t` that is asked for, once, with what it sees as
    `f0...`; times that see nothing are not in it."""
    view, seen, rows, asked = wanted.view, f"seen_{n}", f"history_{n}", f"asked_{n}"
    kinds = {**dict(view.entity), **{name: dict(view.features)[name] for name in wanted.features}}
    kinds |= {TIMESTAMP: FeatureType.TIMESTAMP, CREATED: FeatureType.TIMESTAMP}
    _table(tables, f"{rows}_in", [f"{_q(c)} {SQL_TYPES[k]}" for c, k in kinds.items()], wanted.history)
    k = [f"`k{i}`" for i in range(len(view.entity))]
    f = [f"`f{i}`" for i in range(len(wanted.features))]
    columns = [f"{_q(name)} AS {key}" for (name, _), key in zip(view.entity, k, strict=True)]
    columns += [f"{_value(c, kinds[c])} AS {name}" for c, name in zip(wanted.features, f, strict=True)]
    columns += [f"{_epoch(TIMESTAMP)} AS `__e`", f"{_epoch(CREATED)} AS `__c`"]
    tables.execute_sql(f"CREATE TEMPORARY VIEW {rows} AS SELECT {', '.join(columns)} FROM {rows}_in")
    times = ["`__t`", *(["`__known`"] if with_known else [])]
    entity = [f"{_q(c)} AS {key}" for c, key in zip(wanted.entity_columns, k, strict=True)]
    present = " AND ".join(f"{c} IS NOT NULL" for c in [*times, *map(_q, wanted.entity_columns)])
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW {asked} AS
        SELECT DISTINCT {", ".join([*entity, *times])} FROM labels WHERE {present}""")
    join = _by_rank if with_known else _by_newest
    tables.execute_sql(f"CREATE TEMPORARY VIEW {seen} AS {join(rows, asked, k, f, view.ttl_ms)}")
    return seen


def _by_newest(rows: str, asked: str, k: Sequence[str], f: Sequence[str], ttl: int) -> str:
    """Which event time each label sees is a running maximum over labels and history together: one sort and
    no product of the two, however many rows an entity has."""
    key, values = ", ".join(k), ", ".join(f"h.{one}" for one in f)
    same = " AND ".join(f"h.{one} = a.{one}" for one in k)
    newest = f"""SELECT * FROM (SELECT *, ROW_NUMBER() OVER (
        PARTITION BY {key}, `__e` ORDER BY `__c` DESC) AS `__n` FROM {rows}) WHERE `__n` = 1"""
    both = f"""SELECT {key}, `__t` AS `__at`, `__t`, CAST(NULL AS BIGINT) AS `__e` FROM {asked}
        UNION ALL SELECT {key}, `__e` AS `__at`, CAST(NULL AS BIGINT) AS `__t`, `__e` FROM {rows}"""
    running = f"PARTITION BY {key} ORDER BY `__at` RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    seen = f"SELECT {key}, `__t`, MAX(`__e`) OVER ({running}) AS `__e` FROM ({both})"
    keys = ", ".join(f"a.{one}" for one in k)
    return f"""SELECT {keys}, a.`__t`, {values} FROM ({seen}) AS a JOIN ({newest}) AS h
        ON {same} AND h.`__e` = a.`__e` WHERE a.`__t` IS NOT NULL AND a.`__t` - a.`__e` <= {ttl}"""


def _by_rank(rows: str, asked: str, k: Sequence[str], f: Sequence[str], ttl: int) -> str:
    """What was known is a second order beside time: every row that may be seen is looked at."""
    keys, values = ", ".join(f"a.{one}" for one in k), ", ".join(f"h.{one}" for one in f)
    same = " AND ".join(f"h.{one} = a.{one}" for one in k)
    times, seen = "a.`__t`, a.`__known`", "h.`__e` <= a.`__t` AND h.`__c` <= a.`__known`"
    return f"""SELECT {", ".join([*k, "`__t`", "`__known`", *f])} FROM (
        SELECT {keys}, {times}, {values}, ROW_NUMBER() OVER (
            PARTITION BY {keys}, {times} ORDER BY h.`__e` DESC, h.`__c` DESC) AS `__n`
        FROM {asked} AS a JOIN {rows} AS h ON {same} AND {seen} AND a.`__t` - h.`__e` <= {ttl})
        WHERE `__n` = 1"""


def _table(tables: StreamTableEnvironment, name: str, columns: Sequence[str], url: str) -> None:
    tables.execute_sql(
        f"CREATE TEMPORARY TABLE {name} ({', '.join(columns)}) WITH ({options(_PARQUET | {'path': url})})"
    )


def _millis(labels: Labels, column: str) -> str:
    return _q(column) if labels.columns[column] == "BIGINT" else _epoch(column)


def _epoch(column: str) -> str:
    return f"EXTRACT(EPOCH FROM {_q(column)}) * 1000 + EXTRACT(MILLISECOND FROM {_q(column)})"


def _value(column: str, kind: FeatureType) -> str:
    return _epoch(column) if kind is FeatureType.TIMESTAMP else _q(column)


def _result_type(wanted: WantedFeatures, feature: str) -> str:
    kind = dict(wanted.view.features)[feature]
    return "BIGINT" if kind is FeatureType.TIMESTAMP else SQL_TYPES[kind]


def _q(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
