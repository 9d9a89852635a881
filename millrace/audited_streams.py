"""Where an audit reads results, records and published models: topics, or the folder of a job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from millrace import folder_stream, kafka_stream
from millrace.model_stream import ModelStream
from schemas.errors import SourceError
from udfs.io.folder_files import visible_files

Place = tuple[str, int, int]
"""Source, partition and offset of a record, or of a result."""


class AuditedStreams(Protocol):
    """All raise `SourceError`."""

    def results(self) -> Iterator[bytes]:
        """Every result that is there."""
        ...

    def result(self, place: Place) -> bytes | None:
        """The result at a place of the results' stream."""
        ...

    def records(self, places: Collection[Place]) -> Mapping[Place, bytes]:
        """Those of the records that are still there."""
        ...

    def published(self) -> Iterator[bytes]:
        """The messages of the model stream."""
        ...


@dataclass(frozen=True, slots=True)
class Topics:
    """On Kafka. `topics`: of results and of the model stream."""

    bootstrap: str
    results_topic: str
    models_topic: str
    client: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 15.0

    def results(self) -> Iterator[bytes]:
        return kafka_stream.values(self.bootstrap, self.results_topic, self.client, self.timeout_s)

    def result(self, place: Place) -> bytes | None:
        return self.records([place]).get(place)

    def records(self, places: Collection[Place]) -> Mapping[Place, bytes]:
        wanted: defaultdict[str, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for topic, partition, offset in places:
            wanted[topic][partition].append(offset)
        found: dict[Place, bytes] = {}
        for topic, offsets in wanted.items():
            there = kafka_stream.read_at(self.bootstrap, topic, offsets, self.client, self.timeout_s)
            found |= {(topic, partition, offset): value for partition, offset, value in there}
        return found

    def published(self) -> Iterator[bytes]:
        there = ModelStream(None, self.bootstrap, self.models_topic, self.client, self.timeout_s)
        return there.messages()


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folder of a job, with `results`, `records` and `models` below it.

    A result's place is the name of its folder, 0, and the number of its line among all; a record's its file
    below `records`, 0, and the number of its line.
    """

    root: Path

    def results(self) -> Iterator[bytes]:
        return folder_stream.lines(self.root / "results")

    def result(self, place: Place) -> bytes | None:
        name, partition, offset = place
        if partition:
            raise SourceError(f"{name} is a folder, whose only partition is 0")
        return next(islice(folder_stream.lines(self.root / name), offset, None), None)

    def records(self, places: Collection[Place]) -> Mapping[Place, bytes]:
        wanted: defaultdict[str, set[int]] = defaultdict(set)
        for source, _, offset in places:
            wanted[source].add(offset)
        found = {}
        for source, offsets in wanted.items():
            path = (self.root / "records" / source).resolve()
            if not path.is_relative_to((self.root / "records").resolve()) or not path.is_file():
                continue
            # A job counts all lines, empty ones too.
            with path.open("rb") as file:
                for number, line in enumerate(file):
                    if number in offsets:
                        found[source, 0, number] = line.rstrip(b"\r\n")
        return found

    def published(self) -> Iterator[bytes]:
        for path in visible_files(self.root / "models"):
            yield path.read_bytes()
