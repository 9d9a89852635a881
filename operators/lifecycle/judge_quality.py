"""Messages about quality as alerts: where a model version has become worse."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators.code_guard import check_code, code_digest
from operators.rows import to_rows
from schemas.codecs.base import Code
from schemas.errors import StatisticsError
from schemas.lifecycle.quality import QualityRecord, read_message
from schemas.micro_batch import decode_micro_batch
from schemas.output_batch import encode_output_batch
from schemas.results.dead_letter import dead_letter
from schemas.tensors import BadRecord
from udfs.lifecycle.drift.alerts import write_alert
from udfs.lifecycle.watching.watched_quality import (
    QualitySpec,
    quality_alert,
    read_version_quality,
    series_of,
    watch_quality,
    write_version_quality,
)


class JudgeQuality(KeyedProcessFunction):
    """Micro-batches of messages, read by one instance. Main output: OUTPUTS, alerts; what is no message goes
    to DEAD_LETTERS. State is as it was told of whenever a call here has returned."""

    def __init__(self, spec: QualitySpec) -> None:
        self._code = code_digest()
        self._spec = spec

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._state = context.get_map_state(MapStateDescriptor("qualities", Types.STRING(), pickled))

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        batch = decode_micro_batch(value)
        for row, payload in enumerate(batch.payloads):
            if row in batch.null_payloads:  # compaction's
                continue
            try:
                place = f"{batch.source}/{batch.partitions[row]}"
                yield from self._judged(read_message(QualityRecord, payload), place)
            except StatisticsError as e:
                yield from to_rows([dead_letter(batch, BadRecord(row, Code.UNPARSABLE.value, str(e)))])

    def _judged(self, record: QualityRecord, place: str) -> Iterator[Any]:
        series = series_of(record)
        kept = self._state.get(series)
        before = None if kept is None else read_version_quality(bytes(kept))
        state = watch_quality(self._spec, record, before, place)
        if state is None:
            return
        alert = quality_alert(record, state, self._spec.limits[record.data_type])
        self._state.put(series, write_version_quality(state))
        if alert is not None:
            data = write_alert(alert, self._spec.name, time.time_ns() // 1_000_000)
            yield encode_output_batch([data], [None], [alert.data_type.encode()])
