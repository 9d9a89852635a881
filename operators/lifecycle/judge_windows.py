"""Partial sums of all instances as statistics of windows, and alerts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.output_tag import OutputTag
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from operators.code_guard import check_code, code_digest
from operators.flink_internals import current_key
from operators.rows import OUTPUTS
from schemas.lifecycle.window_statistics import write_window
from schemas.output_batch import encode_output_batch
from udfs.lifecycle.drift.alerts import Alert, write_alert
from udfs.lifecycle.watching.series import Series, read_partial, write_partial
from udfs.lifecycle.watching.watched_series import (
    Episodes,
    JudgeSpec,
    Told,
    WatchedSeries,
    read_episodes,
    write_episodes,
)

ALERTS = OutputTag("alerts", OUTPUTS)


class JudgeWindows(KeyedProcessFunction):
    """Partial sums, keyed by series, behind watermarks in event time.

    Main output: OUTPUTS, statistics of windows; side output ALERTS. State is as it was told of whenever a
    call here has returned.
    """

    def __init__(self, spec: JudgeSpec) -> None:
        self._code = code_digest()
        self._spec = spec

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._windows = context.get_map_state(MapStateDescriptor("windows", Types.LONG(), pickled))
        self._episodes = context.get_state(ValueStateDescriptor("episodes", pickled))
        self._training = self._spec.training_sets()
        self._watched = dict[str, WatchedSeries]()
        self._additions = count(1)

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key, timers = current_key(ctx), ctx.timer_service()
        watched, partial = self._of(key), read_partial(bytes(value[1]))
        yield from self._rows(watched.merge(partial, timers.current_watermark(), _now()))
        if (window := watched.windows.get(partial.start)) is not None:
            self._windows.put(partial.start, write_partial(window))
            timers.register_event_time_timer(partial.start + self._spec.window_ms - 1)
        self._keep(watched, key)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = current_key(ctx)
        watched = self._of(key)
        before = set(watched.windows)
        yield from self._rows(watched.close(timestamp, _now()))
        for start in before - set(watched.windows):
            self._windows.remove(start)
        self._keep(watched, key)

    def _keep(self, watched: WatchedSeries, key: str) -> None:
        """Records may name any number of series: one of which nothing lasts leaves nothing behind."""
        if watched.lasts:
            self._episodes.update(write_episodes(watched.episodes))
        else:
            self._episodes.clear()
            self._watched.pop(key, None)

    def _of(self, key: str) -> WatchedSeries:
        """The series of the current key; the first time, as its state says."""
        found = self._watched.get(key)
        if found is None:
            series, kept = Series.of_key(key), self._episodes.value()
            windows = {int(start): read_partial(bytes(data)) for start, data in self._windows.items()}
            episodes = Episodes() if kept is None else read_episodes(bytes(kept))
            found = self._watched[key] = WatchedSeries(
                series, None, self._spec, windows, episodes, additions=self._additions
            )
        if found.lacks_training:  # also later, where it could not be read
            training = self._training.of_series(Series.of_key(key), _now())
            if training is not None:
                found.compare_with(training)
        return found

    def _rows(self, told: Iterable[Told]) -> Iterator[Any]:
        for one in told:
            if isinstance(one, Alert):
                data, key = write_alert(one, self._spec.name, _now()), one.data_type
                yield ALERTS, encode_output_batch([data], [None], [key.encode()])
            else:
                yield encode_output_batch([write_window(one)], [None], [one.key.encode()])


def _now() -> int:
    return time.time_ns() // 1_000_000
