"""The feature job's Python operators with Flink's state, timers and watermarks in memory: no JVM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa
from pyflink.datastream import KeyedProcessFunction

from operators.block_row import DEAD_LETTERS, row_of
from operators.decode_events import DecodeEvents
from operators.feature_rows import HISTORY, events_tag, features_of
from operators.view_operator import ViewOperator
from schemas.block import Block, pack
from schemas.features import Declarations
from schemas.records import DeadLetter, decode
from udfs.events.decode_spec import DecodeSpec
from udfs.events.view_spec import ViewSpec

END = 2**63 - 1


class State:
    """Value, list and map state of the key at hand, as Flink keeps it: outside the operator."""

    def __init__(self, keyed: Keyed, name: str) -> None:
        self._keyed, self._of = keyed, keyed.states[name]

    def value(self) -> Any:
        return self._of.get(self._keyed.key)

    def update(self, value: Any) -> None:
        self._of[self._keyed.key] = value

    def clear(self) -> None:
        self._of.pop(self._keyed.key, None)

    def add(self, value: Any) -> None:
        self._of.setdefault(self._keyed.key, []).append(value)

    def _map(self, *names: Any) -> dict[Any, Any]:
        assert not any(isinstance(n, bytes) for n in names), "Java's byte arrays equal only themselves"
        return self._of.setdefault(self._keyed.key, {})

    def get(self, name: Any = None) -> Any:
        return self.value() if name is None else self._map(name).get(name)

    def put(self, name: Any, value: Any) -> None:
        self._map(name)[name] = value

    def put_all(self, values: Mapping[Any, Any]) -> None:
        self._map(*values).update(values)

    def remove(self, name: Any) -> None:
        self._map(name).pop(name, None)

    def keys(self) -> Iterable[Any]:
        return list(self._map())


class Keyed:
    """One keyed function: its own context, timer service and state, across restarts of the function."""

    def __init__(self, function: KeyedProcessFunction) -> None:
        self.states: dict[str, dict[str, Any]] = defaultdict(dict)
        self.key, self.watermark, self.clock = "", -(2**63), 0
        self._timers: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
        self.start(function)

    def start(self, function: KeyedProcessFunction) -> None:
        """Also again, as after a restart: state and timers are there, watermarks begin anew."""
        self.watermark, self._function = -(2**63), function
        function.open(self)

    def element(self, key: str, value: Any) -> list[Any]:
        self.key = key
        return list(self._function.process_element(value, self))

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
        while timers and min(timers)[0] <= until:
            at, self.key = min(timers)
            timers.remove((at, self.key))
            yield from self._function.on_timer(at, self)

    # what operators ask of their contexts
    def get_state(self, descriptor: Any) -> State:
        return State(self, descriptor.name)

    get_list_state = get_map_state = get_state

    def get_current_key(self) -> list[str]:
        return [self.key]

    def timer_service(self) -> Keyed:
        return self

    def current_watermark(self) -> int:
        return self.watermark

    def current_processing_time(self) -> int:
        return self.clock

    def register_event_time_timer(self, at: int) -> None:
        self._timers[True].add((at, self.key))

    def register_processing_time_timer(self, at: int) -> None:
        self._timers[False].add((at, self.key))


class FeatureStand:
    """Decode, and the views of one source with those that read them, wired as `jobs.features` does."""

    def __init__(self, declared: Declarations, partitions: int = 1, **more: Any) -> None:
        self._declared, self._more = declared, {"shards": 4, "settle_ms": 100, **more}
        self.source = declared.sources[0].name
        own = {name: self._more[name] for name in ("shards", "settle_ms")}
        self._decode_spec = DecodeSpec(declared, (self.source,), **own, partitions={self.source: partitions})
        self.decode = Keyed(DecodeEvents(self._decode_spec))
        self._views: dict[str, Keyed] = {}
        self._layer(self.source)
        self._offsets: dict[int, int] = defaultdict(int)
        self.rows: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        self.early: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        self.lines: dict[str, list[bytes]] = defaultdict(list)
        self.dead: list[DeadLetter] = []

    def _layer(self, read: str) -> None:
        names = self._names(read)
        if names:
            self._views[read] = Keyed(self._operator(names))
        for name in names:
            self._layer(name)

    def _names(self, read: str) -> tuple[str, ...]:
        return tuple(v.id for v in self._declared.views if v.source == read)

    def _operator(self, names: tuple[str, ...]) -> ViewOperator:
        return ViewOperator(ViewSpec(self._declared, names, **self._more))

    def restart(self) -> None:
        """Every function anew, from its state."""
        self.decode.start(DecodeEvents(self._decode_spec))
        for read, keyed in self._views.items():
            keyed.start(self._operator(self._names(read)))

    def send(self, records: Iterable[bytes | dict[str, Any]], partition: int = 0, at: int = 0) -> None:
        """One block of one partition."""
        payloads = [r if isinstance(r, bytes) else orjson.dumps(r) for r in records]
        first = self._offsets[partition]
        self._offsets[partition] += len(payloads)
        count = len(payloads)
        offsets = list(range(first, first + count))
        block = Block(self.source, "topic", payloads, [partition] * count, offsets, [at] * count)
        key, row = row_of(f"{partition}/{self.source}", pack(block))
        self._take(self.decode.element(key, row))

    def end(self) -> None:
        """The input has ended."""
        self._take(self.decode.advance(END))
        self._advance(self.source, END)

    def _take(self, sent: Iterable[Any]) -> None:
        tag = events_tag(self.source).tag_id
        for to, row in sent:
            if to.tag_id == DEAD_LETTERS.tag_id:
                self.dead.append(decode(DeadLetter, bytes(row[1])))
                continue
            assert to.tag_id == tag
            if row[1][1] is not None:
                self._results(self.source, self._views[self.source].element(row[0], row[1]))
            self._advance(self.source, row[1][0])

    def _advance(self, read: str, watermark: int) -> None:
        """Timers first, then the watermark goes on to the views that read these."""
        if read in self._views:
            self._results(read, self._views[read].advance(watermark))
            for name in self._names(read):
                self._advance(name, watermark)

    def _results(self, read: str, sent: Iterable[Any]) -> None:
        for one in sent:
            if not isinstance(one, tuple):
                block = features_of(one)
                (self.rows if block.settled else self.early)[block.view].append(block.rows)
                continue
            tag, row = one
            if tag.tag_id == HISTORY.tag_id:
                self.lines[row[0]].append(bytes(row[1]))
            elif tag.tag_id == DEAD_LETTERS.tag_id:
                self.dead.append(decode(DeadLetter, bytes(row[1])))
            else:
                name = next(n for n in self._names(read) if events_tag(n).tag_id == tag.tag_id)
                self._results(name, self._views[name].element(row[0], row[1]))

    def settled(self, view: str) -> list[dict[str, Any]]:
        """All settled rows but for `created`, in the order of time and all else."""
        rows = [row for batch in self.rows[view] for row in batch.to_pylist()]
        for row in rows:
            del row["created"]
        return sorted(rows, key=lambda row: (row["event_timestamp"], repr(row)))
