"""The events of the feature benchmarks: JSON of about 130 bytes, of 10,000 accounts, and the view of them."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.plan import Plan
from bench.topics import RunTopics
from devservices.kafka import KafkaBroker
from schemas.features.declarations import Declarations
from udfs.features.loading import load_declarations

SOURCE, VIEW = "payments", "account_day_v1"
ACCOUNTS = 10_000
PER_SECOND = 50_000
"""Events in a second of event time: as many as the job is to take in a second, so that as many are pending
as would in a live stream of that rate."""
_OUT_OF_ORDER_S = 2
_VARIANTS = 10_000
_CHUNK = 256
_DAY_MS = 86_400_000
_BEFORE_MS = 2 * 3_600_000
_MARK = b"mark"
_ROUTE = b"NL-7712-IBAN-0417164300-EUR"
_DECLARED = """
[[sources]]
name = "{source}"
topic = "{topic}"
history = "{history}"
event_time = "at"
event_id = "id"
out_of_orderness = "{late} s"
columns = [
    {{ name = "id", type = "string" }},
    {{ name = "account", type = "string" }},
    {{ name = "at", type = "timestamp" }},
    {{ name = "amount", type = "float64" }},
    {{ name = "route", type = "string" }},
]

[[views]]
name = "account_day"
version = 1
entity = ["account"]
source = "{source}"
ttl = "7 d"
owner = "bench"
description = "Payments of the trailing day, as of each."

[[views.features]]
feature = "aggregate"
name = "n"
of = {{ function = "count" }}
window = {window}

[[views.features]]
feature = "aggregate"
name = "mean_amount"
of = {{ function = "mean", column = "amount" }}
window = {window}

[[views.features]]
feature = "value"
name = "amount"
"""


def declare(file: Path, topic: str = "", history: str = "", tile: str = "5 min") -> Declarations:
    """Write the declarations to `file`: a count and a mean of the trailing day, and the amount itself."""
    window = f'{{ window = "trailing", span = "24 h", tile = "{tile}" }}'
    text = _DECLARED.format(source=SOURCE, topic=topic, history=history, late=_OUT_OF_ORDER_S, window=window)
    file.write_text(text)
    return load_declarations(file)


def event_topics(broker: KafkaBroker, partitions: int) -> RunTopics:
    return RunTopics(broker, partitions, ["events"], ["dead-letters"])


def event(name: bytes, account: bytes, at: int, amount: float) -> bytes:
    """`at`: epoch milliseconds."""
    form = b'{"id":"%b","account":"%b","at":%d,"amount":%.3f,"route":"%b"}'
    return form % (name, account, at, amount, _ROUTE)


def fill(topics: RunTopics, plan: Plan) -> None:
    """Put the plan's events on the topic, all at once.

    A late event in each partition says when a job has come so far, by its dead letter: one after the plan's
    warm-up, one after the last event. An event behind that is far ahead, so that all before it become final.
    """
    rng = random.Random(11)
    made = [(b"a%d" % rng.randrange(ACCOUNTS), rng.uniform(1, 500)) for _ in range(_VARIANTS * 10)]
    start = time.time_ns() // 1_000_000 - plan.records * 1000 // PER_SECOND - _BEFORE_MS
    with topics.at_once("events") as put:
        for number in range(plan.records):
            if number == plan.warm_records:
                for partition in range(topics.partitions):
                    put(event(b"warm%d" % partition, _MARK, start - _DAY_MS, 0), partition=partition)
            account, amount = made[number % len(made)]
            at = start + number * 1000 // PER_SECOND
            put(
                event(b"e%d" % number, account, at, amount),
                partition=number // _CHUNK % topics.partitions,
            )
        for partition in range(topics.partitions):
            put(event(b"last%d" % partition, _MARK, start - _DAY_MS, 0), partition=partition)
            put(event(b"ahead%d" % partition, _MARK, start + _DAY_MS // 24, 0), partition=partition)


def write_history(folder: Path, count: int, files: int = 8) -> None:
    """The events of a day as Parquet, in files of a part of the day each."""
    rng = np.random.default_rng(11)
    folder.mkdir(parents=True)
    start = time.time_ns() // 1_000_000 // _DAY_MS * _DAY_MS - 2 * _DAY_MS
    for part, numbers in enumerate(np.array_split(np.arange(count), files)):
        accounts = rng.integers(0, ACCOUNTS, len(numbers))
        columns = {
            "id": [f"e{n}" for n in numbers],
            "account": [f"a{a}" for a in accounts],
            "at": pa.array(start + numbers * _DAY_MS // count, pa.timestamp("ms", "UTC")),
            "amount": rng.uniform(1, 500, len(numbers)),
            "route": [_ROUTE.decode()] * len(numbers),
        }
        pq.write_table(pa.table(columns), folder / f"{part}.parquet")
