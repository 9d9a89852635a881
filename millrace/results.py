"""Reading what jobs write: results, decided results, dead letters, events and statistics.

```
for result in results_in(Path("out/results")):          # a folder of a job without a broker
    print(result.model, result.version, result.scores)
```
Results are JSON lines: `read_result(line)` reads one that comes from elsewhere, `read_decided(line)` one of
several candidates, and `read_record(DeadLetter, line)` a line of a side output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from schemas.results.decided import AnswerState, CandidateAnswer, Decided, read_decided
from schemas.results.records import (
    CandidateStats,
    DeadLetter,
    EventKind,
    ModelEvent,
    ModelToServeStats,
    Outcome,
)
from schemas.results.records import decode as read_record
from schemas.results.results import Scored, read_result

__all__ = [
    "AnswerState",
    "CandidateAnswer",
    "CandidateStats",
    "DeadLetter",
    "Decided",
    "EventKind",
    "ModelEvent",
    "ModelToServeStats",
    "Outcome",
    "Scored",
    "read_decided",
    "read_record",
    "read_result",
    "results_in",
    "results_of",
]


def results_in(folder: Path, *, follow: bool = False) -> Iterator[Scored]:
    """The results in a folder of JSON lines, file by file in order of their names.

    `follow`: wait for more, for ever. Raises `SourceError` where there is no such folder or a file cannot be
    read, and `ValueError` for a line that is no result.
    """
    from millrace.folder_stream import lines  # noqa: PLC0415

    return map(read_result, lines(folder, follow=follow, from_beginning=True))


def results_of(
    topic: str,
    bootstrap: str,
    client: Mapping[str, str] | None = None,
    *,
    follow: bool = False,
    timeout_s: float = 15.0,
) -> Iterator[Scored]:
    """The results that a Kafka topic holds now, from its beginning; only those of committed transactions.

    `bootstrap`: HOST:PORT[,...]; `client`: settings of librdkafka, e.g. `{"security.protocol": "SSL"}`.
    `follow`: go on with what comes, for ever. Raises `SourceError` where the topic cannot be read or nothing
    answers for `timeout_s` seconds, and `ValueError` for a message that is no result.
    """
    from millrace import kafka_stream  # noqa: PLC0415

    client = client or {}
    if follow:
        found = kafka_stream.follow(bootstrap, topic, client, timeout_s, from_beginning=True)
    else:
        found = kafka_stream.values(bootstrap, topic, client, timeout_s)
    return map(read_result, found)
