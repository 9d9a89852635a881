"""Parquet files as events, for Flink's batch mode: read in parallel, a file at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common import Row, WatermarkStrategy
from pyflink.common.typeinfo import Types
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.features.feature_rows import EVENT_BATCH, event_row, events_tag
from operators.flink_internals import keyed_by_first
from operators.key_groups import KeyGroups
from operators.rows import to_rows
from schemas.results.records import DeadLetter
from udfs.features.events.references import stream_of
from udfs.stores.history.events import HistoryReader, HistorySpec

_FILE = Types.ROW_NAMED(["key", "file"], [Types.STRING(), Types.ROW_NAMED(["path"], [Types.STRING()])])


class ReadHistory(KeyedProcessFunction):
    """Paths of files, each its own key. Side outputs: `events_tag(STREAM)`, rows whose number is the start of
    their time slice; DEAD_LETTERS."""

    def __init__(self, spec: HistorySpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._spec, self._keys = spec, groups.keys_of_parts(spec.parts)
        self._opened: HistoryReader | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._reader = self._opened = self._spec.reader()
        views = self._spec.declared.views
        self._tags = {view.id: events_tag(stream_of(view)) for view in views}

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        for found in self._reader.read(value[0]):
            if isinstance(found, DeadLetter):
                yield from to_rows([found])
            else:
                view, part, begin, events = found
                yield self._tags[view], event_row(self._keys[part], view, begin, events)


class _Slice(TimestampAssigner):
    def extract_timestamp(self, value: Any, record_timestamp: int) -> int:
        return int(value[1][0])


def history_events(
    environment: StreamExecutionEnvironment, files: Sequence[str], spec: HistorySpec, groups: KeyGroups
) -> DataStream:
    """The operator that reads `files`."""
    rows = [Row(str(at), Row(path)) for at, path in enumerate(files)]
    name = f"reference-{spec.source}" if spec.is_reference else spec.source
    paths = environment.from_collection(rows, _FILE).name(f"files of {name}").uid(f"files-{name}")
    read = keyed_by_first(paths, _FILE).process(ReadHistory(spec, groups), EVENT_BATCH)
    return read.name(f"read {name}").uid(f"read-{name}").disable_chaining()


def by_slice(events: DataStream, name: str) -> KeyedStream:
    """Rows of EVENT_BATCH by key; in batch Flink sorts each key's by the time that is given to them here."""
    strategy = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(_Slice())
    timed = events.assign_timestamps_and_watermarks(strategy)
    return keyed_by_first(timed.name(f"slices of {name}").uid(f"slices-{name}"), EVENT_BATCH)
