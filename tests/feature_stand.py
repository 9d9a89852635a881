"""The feature job's Python operators with Flink's state, timers and watermarks in memory: no JVM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pyarrow as pa
from pyflink.datastream import TimeDomain

from operators.features.decode_events import DecodeEvents
from operators.features.decode_references import DecodeReferences
from operators.features.feature_rows import HISTORY, events_tag, features_of, progress_tag
from operators.features.view_operator import ViewOperator
from operators.rows import DEAD_LETTERS
from schemas.features.declarations import Declarations
from schemas.micro_batch import MicroBatch, encode_micro_batch
from schemas.results.records import DeadLetter, decode
from tests.flink_fakes import KeyedContext
from tests.output_batches import messages_of
from udfs.features.events.decode_spec import DecodeSpec, ReferenceSpec
from udfs.features.events.references import EventStream, streams_from
from udfs.features.events.view_spec import ViewSpec

END = 2**63 - 1


class Keyed(KeyedContext):
    """One keyed function: its own context, timer service and state, across restarts of the function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.watermark, self.clock = -(2**63), 0
        self._timers: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
        self.start(function)

    def start(self, function: Any) -> None:
        """Also again, as after a restart: state and timers are there, watermarks begin anew."""
        self.watermark, self._function = -(2**63), function
        function.open(self)

    def element(self, key: str, value: Any, input: int = 0) -> list[Any]:
        """On the function's only input, or on that of two."""
        self.key = key
        return list(getattr(self._function, f"process_element{input or ''}")(value, self))

    def advance(self, watermark: int) -> list[Any]:
        if watermark <= self.watermark:
            return []
        self.watermark = watermark
        return list(self._fire(True, watermark))

    def pass_time(self, clock: int) -> list[Any]:
        self.clock = clock
        return list(self._fire(False, clock))

    def _fire(self, in_event_time: bool, until: int) -> Iterator[Any]:
        timers = self._timers[in_event_time]
        self._domain = TimeDomain.EVENT_TIME if in_event_time else TimeDomain.PROCESSING_TIME
        while timers and min(timers)[0] <= until:
            at, self.key = min(timers)
            timers.remove((at, self.key))
            yield from self._function.on_timer(at, self)

    # what operators ask of their contexts
    def get_current_key(self) -> list[str]:
        return [self.key]

    def timer_service(self) -> Keyed:
        return self

    def time_domain(self) -> TimeDomain:
        return self._domain

    def current_watermark(self) -> int:
        return self.watermark

    def current_processing_time(self) -> int:
        return self.clock

    def register_event_time_timer(self, at: int) -> None:
        self._timers[True].add((at, self.key))

    def register_processing_time_timer(self, at: int) -> None:
        self._timers[False].add((at, self.key))


class FeatureStand:
    """Decode, references, and the views of one source with those that read them, wired as `jobs.features`
    does."""

    def __init__(self, declared: Declarations, partitions: int = 1, **more: Any) -> None:
        self._declared, self._more = declared, {"shards": 4, "settle_ms": 100, **more}
        self.source = declared.sources[0].name
        own = {name: self._more[name] for name in ("shards", "settle_ms")}
        self._decode_spec = DecodeSpec(declared, (self.source,), **own, partitions={self.source: partitions})
        one_each = {r.name: 1 for r in declared.references}
        self._reference_spec = ReferenceSpec(declared, self.source, **own, partitions=one_each)
        self.decode = Keyed(DecodeEvents(self._decode_spec))
        self.references = Keyed(DecodeReferences(self._reference_spec))
        self._streams: dict[str, EventStream] = {}
        self._views: dict[str, Keyed] = {}
        self._reached: dict[tuple[str, str], int] = {}
        self._layer(self.source)
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
        self.rows: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        self.early: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        self.lines: dict[str, list[bytes]] = defaultdict(list)
        self.dead: list[DeadLetter] = []

    def _layer(self, read: str) -> None:
        for stream in streams_from(read, self._declared):
            self._streams[stream.name] = stream
            self._views[stream.name] = Keyed(self._operator(stream))
            for view in stream.views:
                self._layer(view)

    def _operator(self, stream: EventStream) -> ViewOperator:
        return ViewOperator(ViewSpec(self._declared, stream.views, **self._more))

    def restart(self, **more: Any) -> None:
        """Every function anew, from its state; `more`: settings of the views that have changed."""
        self._more |= more
        self.decode.start(DecodeEvents(self._decode_spec))
        self.references.start(DecodeReferences(self._reference_spec))
        self._reached.clear()
        for name, keyed in self._views.items():
            keyed.start(self._operator(self._streams[name]))

    def send(self, records: Iterable[bytes | dict[str, Any]], partition: int = 0, at: int | None = 0) -> None:
        """One micro-batch of one partition."""
        batch = self._batch(self.source, records, partition, at)
        self._decoded(self.decode.element(str(partition), batch))

    def refer(self, reference: str, records: Iterable[bytes | dict[str, Any]], partition: int = 0) -> None:
        """One micro-batch of a reference's rows."""
        batch = self._batch(reference, records, partition, 0)
        self._referred(self.references.element(str(partition), batch, input=1))

    def tick(self, clock: int) -> None:
        """Processing time has gone on, for the operators that decode."""
        self._decoded(self.decode.pass_time(clock))
        self._referred(self.references.pass_time(clock))

    def end(self) -> None:
        """The input has ended."""
        self._decoded(self.decode.advance(END))
        self._referred(self.references.advance(END))
        for stream in streams_from(self.source, self._declared):
            self._advance("events", stream.name, END)
        for stream in self._reference_spec.streams():
            self._advance("references", stream.name, END)

    def _batch(
        self, name: str, records: Iterable[bytes | dict[str, Any]], partition: int, at: int | None
    ) -> bytes:
        payloads = [r if isinstance(r, bytes) else orjson.dumps(r) for r in records]
        first, count = self._offsets[name, partition], len(payloads)
        self._offsets[name, partition] += count
        offsets = list(range(first, first + count))
        batch = MicroBatch(name, "topic", payloads, [partition] * count, offsets, [at] * count)
        return encode_micro_batch(batch)

    def _decoded(self, sent: Iterable[Any]) -> None:
        for to, row in sent:
            if to.tag_id == progress_tag(self.source).tag_id:
                self._referred(self.references.element(row[0], row[1], input=2))
            else:
                self._take("events", to, row)

    def _referred(self, sent: Iterable[Any]) -> None:
        for to, row in sent:
            self._take("references", to, row)

    def _take(self, side: str, to: Any, row: Any) -> None:
        if to.tag_id == DEAD_LETTERS.tag_id:
            self._letters(row)
            return
        stream = self._tagged(to)
        if row[1][1] is not None:
            self._results(stream, self._views[stream].element(row[0], row[1]))
        self._advance(side, stream, row[1][0])

    def _letters(self, packed: bytes) -> None:
        self.dead += [decode(DeadLetter, message.value) for message in messages_of(packed)]

    def _tagged(self, tag: Any) -> str:
        return next(name for name in self._streams if events_tag(name).tag_id == tag.tag_id)

    def _advance(self, side: str, stream: str, watermark: int) -> None:
        """The least over the inputs of a stream's views: timers first, then it goes on to the views that read
        these."""
        key = side, stream
        self._reached[key] = max(watermark, self._reached.get(key, watermark))
        sides = ["events", *(["references"] if self._streams[stream].references else [])]
        if not all((one, stream) in self._reached for one in sides):
            return
        reached, keyed = min(self._reached[one, stream] for one in sides), self._views[stream]
        self._results(stream, keyed.advance(reached))
        for view in self._streams[stream].views:
            for above in streams_from(view, self._declared):
                self._advance("events", above.name, reached)

    def _results(self, stream: str, sent: Iterable[Any]) -> None:
        for one in sent:
            if not isinstance(one, tuple):
                block = features_of(one)
                (self.rows if block.settled else self.early)[block.view].append(block.rows)
                continue
            tag, row = one
            if tag.tag_id == HISTORY.tag_id:
                self.lines[row[0]].append(bytes(row[1]))
            elif tag.tag_id == DEAD_LETTERS.tag_id:
                self._letters(row)
            else:
                above = self._tagged(tag)
                self._results(above, self._views[above].element(row[0], row[1]))

    def settled(self, view: str) -> list[dict[str, Any]]:
        """All settled rows but for `created`, in the order of time and all else."""
        rows = [row for batch in self.rows[view] for row in batch.to_pylist()]
        for row in rows:
            del row["created"]
        return sorted(rows, key=lambda row: (row["event_timestamp"], repr(row)))
