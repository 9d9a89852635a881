"""Events, views and history with SQL steps and references, which the tests that run the jobs share."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Declarations,
    Enrichment,
    Expression,
    FeatureType,
    FeatureView,
    Function,
    LastN,
    Max,
    OnThreshold,
    Reference,
    Source,
    Sum,
    Trailing,
    Value,
    write_declarations,
)
from schemas.features.feature_batch import ARROW
from udfs.features.loading import load_declarations
from udfs.io.s3 import S3Options
from udfs.stores.history.files import file_system

NAMES = ("signals", "zips", "networks")
VIEWS = ("spend_v1", "busy_v1", "plain_v1", "towns_v1")
_WINDOW = Trailing(span="5 min", tile="10 s")
_ARROW_FUNCTION = {"type": FeatureType.STRING, "over": "arrow"}
_STEPS = (
    Expression(name="cents", sql="CAST(round(amount * 100) AS BIGINT)", type=FeatureType.INT64),
    Function(name="bucket", function="udfs.features.ip_ranges:bucket", inputs=("ip",), **_ARROW_FUNCTION),
    Enrichment(reference="zips", on="zip", columns={"town": "town", "factor": "factor"}),
    Enrichment(reference="networks", on="bucket", columns={"ranges": "ranges"}),
    Function(
        name="network", function="udfs.features.ip_ranges:label", inputs=("ip", "ranges"), **_ARROW_FUNCTION
    ),
    Expression(name="worth", sql="cents * coalesce(factor, 1.0)", type=FeatureType.FLOAT64),
    Expression(name="is_inside", sql="coalesce(network LIKE 'in%', false)", type=FeatureType.BOOL),
)


def _view(name: str, *features: Any, **more: Any) -> FeatureView:
    of = {"version": 1, "entity": ("account",), "source": "signals", "ttl": "30 d", "owner": "tests"}
    return FeatureView(**{**of, "name": name, "features": features, "description": "A test's.", **more})


def _declared(topic: str, history: str, idle: str) -> Declarations:
    def column(name: str, kind: FeatureType, nullable: bool = True) -> Column:
        return Column(name=name, type=kind, nullable=nullable)

    def kept(name: str) -> dict[str, Any]:
        return {"name": name, "topic": f"{topic}{name}", "history": f"{history}/{name}"}

    text, time, number = FeatureType.STRING, FeatureType.TIMESTAMP, FeatureType.FLOAT64
    # how long a busy machine takes to begin must not count as silence
    patient: dict[str, Any] = {"event_time": "at", "out_of_orderness": "2 s", "idle": "1 h"}
    signals = Source(
        **kept("signals"),
        **patient | {"idle": idle},
        event_id="id",
        columns=(
            column("id", text, False),
            column("account", text, False),
            column("at", time, False),
            column("amount", number),
            column("zip", FeatureType.INT64),
            column("ip", text),
        ),
    )
    zips = Reference(
        **kept("zips"),
        **patient,
        key="zip",
        deleted="gone",
        columns=(
            column("zip", FeatureType.INT64, False),
            column("at", time, False),
            column("town", text),
            column("factor", number),
            column("gone", FeatureType.BOOL),
        ),
    )
    networks = Reference(
        **kept("networks"),
        **patient,
        key="bucket",
        columns=(column("bucket", text, False), column("at", time, False), column("ranges", text)),
    )
    total = Aggregate(name="total", of=Sum(column="worth"), window=_WINDOW)
    views = (
        _view(
            "spend",
            Value(name="town"),
            Value(name="network"),
            Value(name="worth"),
            total,
            Aggregate(name="inside", of=Count(), where="is_inside", window=_WINDOW),
            Aggregate(name="towns", of=LastN(column="town", n=3), window=_WINDOW),
            steps=_STEPS,
        ),
        _view("busy", total, steps=_STEPS, emit=OnThreshold(feature="total", limit=300_000)),
        _view("plain", Aggregate(name="total", of=Sum(column="cents"), window=_WINDOW), steps=_STEPS[:1]),
        _view(
            "towns",
            Aggregate(name="most", of=Max(column="total"), window=_WINDOW),
            Value(name="factor"),
            source="spend_v1",
            entity=("place",),
            steps=(
                Expression(name="place", sql="coalesce(town, 'nowhere')", type=text),
                Expression(name="code", sql="CAST(length(place) AS BIGINT)", type=FeatureType.INT64),
                Enrichment(reference="zips", on="code", columns={"factor": "factor"}),
            ),
        ),
    )
    return Declarations(sources=(signals,), references=(zips, networks), views=views)


def declare(file: Path, topic: str = "", history: str = "", idle: str = "1 h") -> Declarations:
    """Writes the declarations to `file`; topics are `topic` with the name, histories `history/NAME`;
    `idle` is the source's."""
    made = write_declarations(_declared(topic, history, idle))
    file.write_text(
        f"import msgspec\nfrom schemas.features.declarations import Declarations\n"
        f"DECLARATIONS = msgspec.json.decode({made!r}, type=Declarations)\n"
    )
    return load_declarations(file)


def streams(count: int, start: int, step_ms: int, accounts: int = 300) -> dict[str, list[dict[str, Any]]]:
    """Events and rows of references in order of arrival; of each some come up to 1.8 s of event time late.
    There are keys without rows, rows that are deleted and come again, and rows of equal times."""
    rng = random.Random(count)
    made: dict[str, list[tuple[int, dict[str, Any]]]] = {name: [] for name in NAMES}

    def put(name: str, at: int, row: dict[str, Any]) -> None:
        late = rng.randrange(1800) if rng.random() < (0.05 if name == "signals" else 0.2) else 0
        made[name].append((at + late, {**row, "at": start + at}))

    for i in range(count):
        at = step_ms * i
        event = {"id": f"e{i}", "account": f"account {rng.randrange(accounts)}"}
        event |= {
            "amount": None if i % 13 == 0 else rng.uniform(-50, 100),
            "zip": rng.choice([None, *range(60)]),
        }
        put("signals", at, event | {"ip": f"10.{rng.randrange(12)}.{rng.randrange(256)}.1"})
        if i % 20 == 0:
            for _ in range(rng.choice([1, 1, 1, 2])):
                row = {"zip": rng.randrange(50), "town": rng.choice(["a", "bb", "", "c\nd", "é"])}
                put("zips", at, row | {"factor": rng.choice([None, 0.5, 1.1]), "gone": rng.random() < 0.2})
        if i % 100 == 0:
            bucket = rng.randrange(10)
            inside = f"10.{bucket}.{rng.randrange(128)}.0-10.{bucket}.{rng.randrange(128, 256)}.255=in{i}"
            put(
                "networks",
                at,
                {"bucket": f"4/10.{bucket}", "ranges": f"{inside};10.{bucket}.0.0-10.{bucket}.9.255=edge"},
            )
    return {name: [row for _, row in sorted(of, key=lambda m: m[0])] for name, of in made.items()}


def write_histories(
    declared: Declarations, rows: Mapping[str, Sequence[dict[str, Any]]], options: S3Options, files: int = 3
) -> None:
    """All streams as Parquet files in their histories, each with some of all times, backwards."""
    for stream in (*declared.sources, *declared.references):
        schema = pa.schema([(c.name, ARROW[c.type]) for c in stream.columns])
        where, path = file_system(stream.history, options)
        where.create_dir(path, recursive=True)
        for part in range(files):
            own = [*reversed(rows[stream.name])][part::files]
            pq.write_table(pa.Table.from_pylist(own, schema), f"{path}/{part}.parquet", filesystem=where)
