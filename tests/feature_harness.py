"""The feature job's Python operators with Flink's state, timers and watermarks in memory: no JVM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
from pyflink.datastream import TimeDomain

from operators.event_watermark import IDLE
from operators.features.decode_events import DecodeEvents
from operators.features.decode_references import DecodeReferences
from operators.features.feature_rows import HISTORY, events_tag, features_of, progress_tag
from operators.features.view_operator import ViewOperator
from operators.key_groups import KeyGroups
from operators.rows import DEAD_LETTERS
from schemas.features.declarations import Declarations
from schemas.micro_batch import MicroBatch, encode_micro_batch
from schemas.results import records as results
from schemas.results.records import DeadLetter
from tests.flink_fakes import KeyedContext
from tests.output_batches import messages_of
from udfs.features.events.decode_spec import DecodeSpec, ReferenceSpec
from udfs.features.events.references import EventStream, streams_from
from udfs.features.events.view_spec import ViewSpec

END = 2**63 - 1
SECOND_MS = 1000
BEAT = SECOND_MS.to_bytes(8, "big")
"""What `MicroBatcher.java` sends when a second has passed."""


GROUPS = KeyGroups(tuple(map(str, range(8))))
Timers = dict[bool, set[tuple[int, str]]]


@dataclass
class Kept:
    """What a savepoint has of an instance: state (name -> key -> value) and timers."""

    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    timers: Timers = field(default_factory=lambda: {True: set(), False: set()})


def given_out(kept: Iterable[Kept], parallelism: int) -> list[Kept]:
    """The same for as many instances, each with what lies under the keys of its key groups."""
    made = [Kept() for _ in range(parallelism)]
    owner = {
        key: made[index]
        for index in range(parallelism)
        for key in GROUPS.keys_of_instance(index, parallelism)
    }
    for one in deepcopy([*kept]):
        for name, by_key in one.states.items():
            for key, value in by_key.items():
                owner[key].states.setdefault(name, {})[key] = value
        for kind, timers in one.timers.items():
            for at, key in timers:  # one that keys by something else has one instance
                owner.get(key, made[0]).timers[kind].add((at, key))
    return made


class Keyed(KeyedContext):
    """One instance of a keyed function: its own context, timer service and state. `kept`: what it begins
    with, as from a savepoint."""

    def __init__(self, function: Any, kept: Kept | None = None, index: int = 0, parallelism: int = 1) -> None:
        kept = kept or Kept()
        super().__init__(kept.states, index, parallelism)
        self.clock, self._timers = 0, kept.timers
        self.start(function)

    def start(self, function: Any) -> None:
        """Also again, as after a restart: state and timers are there, watermarks begin anew."""
        self.watermark, self._function = -(2**63), function
        function.open(self)

    def kept(self) -> Kept:
        return deepcopy(Kept(dict(self.states), self._timers))

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

    def delete_event_time_timer(self, at: int) -> None:
        self._timers[True].discard((at, self.key))

    def delete_processing_time_timer(self, at: int) -> None:
        self._timers[False].discard((at, self.key))


class FeatureHarness:
    """Decode, references, and the views of one source with those that read them, wired as `jobs.features`
    does, each but the references at `parallelism`. Partition n is read by instance n modulo that."""

    def __init__(
        self, declared: Declarations, partitions: int = 1, parallelism: int = 1, **more: Any
    ) -> None:
        self._declared, self._more = declared, {"watermark_step_ms": 100, **more}
        self.source = declared.sources[0].name
        watermark_step_ms = self._more["watermark_step_ms"]
        known = {self.source: partitions} if parallelism == 1 else {}
        groups = len(GROUPS.keys)
        self._decode_spec = DecodeSpec(declared, (self.source,), groups, watermark_step_ms, partitions=known)
        one_each = {r.name: 1 for r in declared.references}
        self._reference_spec = ReferenceSpec(declared, self.source, watermark_step_ms, partitions=one_each)
        self._streams: dict[str, EventStream] = {}
        self._layer(self.source)
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
        self.rows: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        self.provisional: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        self.lines: dict[str, list[bytes]] = defaultdict(list)
        self.dead: list[DeadLetter] = []
        self._saved: dict[str, list[Kept]] = {}
        self._start(parallelism)

    def _layer(self, read: str) -> None:
        for stream in streams_from(read, self._declared):
            self._streams[stream.name] = stream
            for view in stream.views:
                self._layer(view)

    def _start(self, parallelism: int) -> None:
        """Every function anew, from what was saved."""
        self._parallelism, self._keys = parallelism, GROUPS.keys_of_parts(parallelism)
        self._reached: dict[tuple[str, str, int], int] = {}
        self._idle: set[tuple[str, str, int]] = set()

        def instances(name: str, make: Callable[[], Any], count: int) -> list[Keyed]:
            kept = given_out(self._saved.get(name, ()), count)
            return [Keyed(make(), own, index, count) for index, own in enumerate(kept)]

        self.decode = instances("decode", lambda: DecodeEvents(self._decode_spec, GROUPS), parallelism)
        [self.references] = instances("references", lambda: DecodeReferences(self._reference_spec, GROUPS), 1)
        self._views = {
            name: instances(name, lambda of=stream: self._operator(of), parallelism)
            for name, stream in self._streams.items()
        }

    def _operator(self, stream: EventStream) -> ViewOperator:
        spec = ViewSpec(self._declared, stream.views, groups=len(GROUPS.keys), **self._more)
        return ViewOperator(spec, GROUPS)

    def checkpoint(self) -> None:
        """Marks, and then what is in state is kept."""
        for key, decode in zip(self._keys, self.decode, strict=True):
            self.take(decode.index, decode.element(key, b""))
        self._referred(self.references.element(GROUPS.keys[0], b"", input=1))
        self.keep()

    def pass_watermark(self, watermark: int) -> None:
        """Of the source's events, as if it came from elsewhere: between marks and barriers time goes on."""
        for stream in streams_from(self.source, self._declared):
            for index in range(self._parallelism):
                self._advance("events", stream.name, index, watermark)

    def keep(self) -> None:
        """What is in state, as barriers find it."""
        self._saved = {"decode": [one.kept() for one in self.decode], "references": [self.references.kept()]}
        self._saved |= {name: [one.kept() for one in of] for name, of in self._views.items()}
        self._told = deepcopy((self._offsets, self.rows, self.lines, self.dead))

    def restart(self, parallelism: int | None = None) -> None:
        """Every function anew, from a savepoint."""
        self.checkpoint()
        self._start(parallelism or self._parallelism)

    def crash(self, parallelism: int | None = None) -> None:
        """Every function anew, as at the last checkpoint; what left since is gone, provisional rows stay."""
        self._offsets, self.rows, self.lines, self.dead = deepcopy(self._told)
        self._start(parallelism or self._parallelism)

    def send(self, records: Iterable[bytes | dict[str, Any]], partition: int = 0, at: int | None = 0) -> None:
        """One micro-batch of one partition."""
        batch = self._batch(self.source, records, partition, at)
        index = partition % self._parallelism
        self.take(index, self.decode[index].element(self._keys[index], batch))

    def refer(self, reference: str, records: Iterable[bytes | dict[str, Any]], partition: int = 0) -> None:
        """One micro-batch of a reference's rows."""
        batch = self._batch(reference, records, partition, 0)
        self._referred(self.references.element(GROUPS.keys[0], batch, input=1))

    def on_timer(self, clock: int) -> None:
        """Processing time has gone on: for operators that decode, and by a beat where records are read."""
        self.beat()
        for decode in self.decode:
            self.take(decode.index, decode.pass_time(clock))

    def beat(self) -> None:
        """A second has passed where records are read."""
        for key, decode in zip(self._keys, self.decode, strict=True):
            self.take(decode.index, decode.element(key, BEAT))
        self.pass_at_references(SECOND_MS)

    def pass_at_references(self, ms: int) -> None:
        """So much time has passed where references are read."""
        self._referred(self.references.element(GROUPS.keys[0], ms.to_bytes(8, "big"), input=1))

    def end(self) -> None:
        """The input has ended."""
        for decode in self.decode:
            self.take(decode.index, decode.advance(END))
            for stream in streams_from(self.source, self._declared):
                self._advance("events", stream.name, decode.index, END)
        self._referred(self.references.advance(END))
        for stream in self._reference_spec.streams():
            self._advance("references", stream.name, 0, END)

    def _batch(
        self, name: str, records: Iterable[bytes | dict[str, Any]], partition: int, at: int | None
    ) -> bytes:
        payloads = [r if isinstance(r, bytes) else orjson.dumps(r) for r in records]
        first, count = self._offsets[name, partition], len(payloads)
        self._offsets[name, partition] += count
        offsets = list(range(first, first + count))
        batch = MicroBatch(name, "topic", payloads, [partition] * count, offsets, [at] * count)
        return encode_micro_batch(batch)

    def take(self, index: int, sent: Iterable[Any]) -> None:
        """What an instance that decodes has sent."""
        for to, row in sent:
            if to.tag_id == progress_tag(self.source).tag_id:
                self._referred(self.references.element(row[0], row[1], input=2))
            else:
                self._take("events", index, to, row)

    def _referred(self, sent: Iterable[Any]) -> None:
        for to, row in sent:
            self._take("references", 0, to, row)

    def _take(self, side: str, index: int, to: Any, row: Any) -> None:
        if to.tag_id == DEAD_LETTERS.tag_id:
            self._letters(row)
            return
        stream = self._tagged(to)
        if row[1][1] is not None:
            self._into(stream, row[0], row[1])
        if row[1][1] is None and row[1][0] == IDLE:
            self._idle.add((side, stream, index))
            self._go_on(stream)
        elif row[1][1] != b"":
            self._idle.discard((side, stream, index))
            self._advance(side, stream, index, row[1][0])

    def _into(self, stream: str, key: str, value: Any) -> None:
        """To the instance of the key; without one to all, each under its own."""
        for own, keyed in zip(self._keys, self._views[stream], strict=True):
            if key in ("", own):
                self._results(stream, keyed.element(own, value))

    def _letters(self, packed: bytes) -> None:
        self.dead += [results.decode(DeadLetter, message.value) for message in messages_of(packed)]

    def _tagged(self, tag: Any) -> str:
        return next(name for name in self._streams if events_tag(name).tag_id == tag.tag_id)

    def _advance(self, side: str, stream: str, index: int, watermark: int) -> None:
        """The least over the inputs of a stream's views: timers first, then it goes on to the views that read
        these."""
        key = side, stream, index
        self._reached[key] = max(watermark, self._reached.get(key, watermark))
        self._go_on(stream)

    def _go_on(self, stream: str) -> None:
        inputs = [("events", stream, number) for number in range(self._parallelism)]
        inputs += [("references", stream, 0)] if self._streams[stream].references else []
        inputs = [one for one in inputs if one not in self._idle]
        if not inputs or not all(one in self._reached for one in inputs):
            return
        reached = min(self._reached[one] for one in inputs)
        for keyed in self._views[stream]:
            self._results(stream, keyed.advance(reached))
        for view in self._streams[stream].views:
            for above in streams_from(view, self._declared):
                for number in range(self._parallelism):
                    self._advance("events", above.name, number, reached)

    def _results(self, stream: str, sent: Iterable[Any]) -> None:
        for one in sent:
            if not isinstance(one, tuple):
                batch = features_of(one)
                (self.rows if batch.final else self.provisional)[batch.view].append(batch.rows)
                continue
            tag, row = one
            if tag.tag_id == HISTORY.tag_id:
                self.lines[row[0]].append(bytes(row[1]))
            elif tag.tag_id == DEAD_LETTERS.tag_id:
                self._letters(row)
            else:
                self._into(self._tagged(tag), row[0], row[1])

    def final(self, view: str) -> list[dict[str, Any]]:
        """All final rows but for `created`, in the order of time and all else."""
        rows = [row for batch in self.rows[view] for row in batch.to_pylist()]
        for row in rows:
            del row["created"]
        return sorted(rows, key=lambda row: (row["event_timestamp"], repr(row)))
