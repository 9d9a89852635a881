"""Events, views and history of the tests that run the feature jobs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.features.declarations import Declarations
from udfs.features.loading import load_declarations
from udfs.io.s3 import S3Options
from udfs.stores.history.consistency import comparable
from udfs.stores.history.files import file_system, read_rows
from udfs.stores.stored_views import stored_views

_DECLARATIONS = """
[[sources]]
name = "signals"
topic = "{topic}"
history = "{history}"
event_time = "at"
event_id = "id"
out_of_orderness = "2 s"
idle = "{idle}"
columns = [
    {{ name = "id", type = "string" }},
    {{ name = "account", type = "string" }},
    {{ name = "at", type = "timestamp" }},
    {{ name = "amount", type = "float64", nullable = true }},
    {{ name = "place", type = "string", nullable = true }},
]

[[views]]
name = "spend"
version = 1
entity = ["account"]
source = "signals"
ttl = "30 d"
owner = "tests"
description = "As of each event."

[[views.features]]
feature = "aggregate"
name = "n"
of = {{ function = "count" }}
window = {trailing}

[[views.features]]
feature = "aggregate"
name = "total"
of = {{ function = "sum", column = "amount" }}
window = {trailing}

[[views.features]]
feature = "aggregate"
name = "spread"
of = {{ function = "variance", column = "amount" }}
window = {trailing}

[[views.features]]
feature = "aggregate"
name = "places"
of = {{ function = "last_n", column = "place", n = 3 }}
window = {trailing}

[[views.features]]
feature = "value"
name = "amount"

[[views]]
name = "busy"
version = 1
entity = ["account"]
source = "signals"
ttl = "30 d"
owner = "tests"
description = "When an account becomes busy, and when it no longer is."
emit = {{ emit = "threshold", feature = "n", limit = 90 }}

[[views.features]]
feature = "aggregate"
name = "n"
of = {{ function = "count" }}
window = {trailing}

[[views]]
name = "minutes"
version = 2
entity = ["account"]
source = "signals"
ttl = "30 d"
owner = "tests"
description = "Of closed windows."
emit = {{ emit = "window_end" }}

[[views.features]]
feature = "aggregate"
name = "most"
of = {{ function = "max", column = "amount" }}
window = {tumbling}

[[views]]
name = "peak"
version = 1
entity = ["account"]
source = "spend_v1"
ttl = "30 d"
owner = "tests"
description = "Of the rows of spend."

[[views.features]]
feature = "aggregate"
name = "highest"
of = {{ function = "max", column = "total" }}
window = {trailing}
"""
VIEWS = ("spend_v1", "busy_v1", "minutes_v2", "peak_v1")


def declare(file: Path, topic: str = "", history: str = "", idle: str = "10 s") -> Declarations:
    """Writes the declarations of all these tests to `file`."""
    trailing = '{ window = "trailing", span = "5 min", tile = "10 s" }'
    tumbling = '{ window = "tumbling", size = "1 min" }'
    text = _DECLARATIONS.format(topic=topic, history=history, idle=idle, trailing=trailing, tumbling=tumbling)
    file.write_text(text)
    return load_declarations(file)


def events(count: int, start: int, step_ms: int, accounts: int = 300) -> list[dict[str, Any]]:
    """In order of arrival. One in twenty comes up to 1.8 s of event time after its successors."""
    rng = random.Random(count)
    made = []
    for i in range(count):
        event = {
            "id": f"e{i}",
            "account": f"account {rng.randrange(accounts)}",
            "at": start + step_ms * i,
            "amount": None if i % 13 == 0 else rng.uniform(-50, 100),
            "place": rng.choice([None, "", "a", 'b"c', "d\ne", "f\x1fg", "\u2028é"]),
        }
        late = rng.randrange(1800) if rng.random() < 0.05 else 0
        made.append((step_ms * i + late, event))
    return [event for _, event in sorted(made, key=lambda m: m[0])]


def encoded(sent: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    return map(orjson.dumps, sent)


def write_history(sent: Sequence[dict[str, Any]], location: str, options: S3Options, files: int = 3) -> None:
    """The events as Parquet files, each with some of all times."""
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("account", pa.string()),
            ("at", pa.timestamp("ms", "UTC")),
            ("amount", pa.float64()),
            ("place", pa.string()),
        ]
    )
    where, path = file_system(location, options)
    where.create_dir(path, recursive=True)
    for part in range(files):
        table = pa.Table.from_pylist([{**e} for e in sent[part::files]], schema=schema)
        pq.write_table(table, f"{path}/{part}.parquet", filesystem=where)


def read_history(
    declared: Declarations, location: str, options: S3Options
) -> dict[str, list[tuple[Any, ...]]]:
    """View -> rows without `created`, sorted, in a form that is equal where every bit is."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, view in stored_views(declared, "history").items():
        rows: list[tuple[Any, ...]] = []
        for batch in read_rows(f"{location}/{name}", dict([*view.entity, *view.features]), options):
            rows += zip(*batch.drop_columns(["created"]).to_pydict().values(), strict=True)
        found[name] = sorted(map(comparable, rows), key=repr)
    return found
