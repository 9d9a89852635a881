"""What a view's rows should be: computed here from its source's history, without a job."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain

import pyarrow as pa

from schemas.features.declarations import Declarations, FeatureView
from schemas.features.feature_batch import FeatureBatch
from schemas.results.records import DeadLetter
from udfs.features.base import END, no_state
from udfs.features.enriching import references_of
from udfs.features.events.references import source_of
from udfs.features.events.view_events import ViewEvents
from udfs.features.events.view_spec import ViewSpec
from udfs.features.expressions import Expressions
from udfs.features.rows import rows_as_events
from udfs.io.s3 import S3Options
from udfs.stores.history.events import HistorySpec
from udfs.stores.history.files import find_files

Part = tuple[int, pa.RecordBatch]
"""Start of the time slice, events."""


def compute_rows(declared: Declarations, view: FeatureView, s3: S3Options) -> list[pa.RecordBatch]:
    """All final rows, as at the end of the input; everything is held in memory.

    Raises `StoreError` where the history cannot be read.
    """
    above = next((v for v in declared.views if v.id == view.source), None)
    history = HistorySpec(declared, view.source, s3)
    if above is None:
        parts = _from_files(history, view)
    else:
        parts = _from_rows(history, view, above, compute_rows(declared, above, s3))
    for reference in references_of(view, declared):
        of_reference = replace(history, source=reference.name, is_reference=True)
        parts = chain(parts, _from_files(of_reference, view))
    rows: list[pa.RecordBatch] = []
    with closing(Expressions()) as expressions:
        engine = ViewSpec(declared, (view.id,)).engine(view.id, no_state, expressions)
        created = time.time_ns() // 1_000_000
        for begin, events in sorted(parts, key=lambda part: part[0]):
            outputs = (engine.advance(begin - 1, created), engine.add(events))
            rows += [batch.rows for output in outputs for batch in output.batches if batch.final]
        rows += [batch.rows for batch in engine.advance(END, created).batches]
    return rows


def _from_files(history: HistorySpec, view: FeatureView) -> Iterator[Part]:
    source = source_of(history.source, history.declared, history.is_reference)
    with closing(history.reader()) as reader:
        for path in find_files(source.history, history.s3):
            for found in reader.read(path):
                if not isinstance(found, DeadLetter) and found[0] == view.id:
                    yield found[2:]


def _from_rows(
    history: HistorySpec, view: FeatureView, above: FeatureView, rows: Iterable[pa.RecordBatch]
) -> Iterator[Part]:
    with closing(Expressions()) as expressions:
        reader = ViewEvents(view, history.declared, expressions)
        for batch in rows:
            events = rows_as_events(FeatureBatch(above.id, True, batch), above.entity)
            for _, taken in reader.of(events).parts:
                yield from history.pieces(taken)
