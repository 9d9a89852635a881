"""The engine of one view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import FeatureError
from schemas.features.declarations import (
    Declarations,
    FeatureType,
    FeatureView,
    OnEvent,
    OnThreshold,
    Session,
    Value,
)
from schemas.features.feature_batch import ARROW, EVENT_ID, EVENT_TIME, FeatureBatch, reference_of
from schemas.features.rules import event_types, split_steps
from udfs.features.base import Changes, Fetch, Refused, ViewOutput
from udfs.features.emitting import (
    NEVER,
    Alarms,
    AtEvents,
    AtSessionEnds,
    AtThresholds,
    AtWindowEnds,
    Emitter,
    Int,
    Points,
)
from udfs.features.enriching import Enriching, references_of
from udfs.features.entities import RowIndex
from udfs.features.entity_keys import key_group, unpack_entity
from udfs.features.expressions import Expressions
from udfs.features.pending import Chunk, PendingEvents, join
from udfs.features.provisional import Provisional
from udfs.features.rows import Rows
from udfs.features.saved import NOTHING, GroupHeader, Saved
from udfs.features.steps import STEP_FAILED, Failed
from udfs.features.windows import window_states


class ViewEngine:
    """One view over the events of any number of key groups. Not thread-safe.

    What the operator keeps in Flink state are all `Changes`: the last header of each key group, and one entry
    an entity. `load` with the headers of any key groups gives an engine that goes on from there. Entities are
    fetched when something touches them. References are not part of that state: who made the engine gives
    them to it again, and says when they are `complete`.

    `fetch`: see `Fetch`. `expressions`: for SQL steps after an enrichment; without them it has its own.
    `groups`: how many key groups there are. `complete`: whether no references will be given again. Raises
    `FeatureError` where the view does not hold together.
    """

    def __init__(
        self,
        view: FeatureView,
        declared: Declarations,
        fetch: Fetch,
        expressions: Expressions | None = None,
        *,
        groups: int = 1,
        complete: bool = True,
    ) -> None:
        self._view, self._fetch = view, fetch
        self._states = window_states(view, declared)
        self._rows = Rows(view, declared)
        self._index, self._pending = RowIndex(view.entity), PendingEvents()
        self._alarms = Alarms(np.zeros(0, np.int64), np.zeros(0, bool))
        self._pending_counts, self._used = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._dirty = np.zeros(0, bool)
        self._group = np.zeros(0, np.int64)  # the key group of each row index
        self._changed, self._turn = np.zeros(groups, bool), 0
        self._watermark, self._clock = -NEVER - 1, 0
        references = references_of(view, declared)
        self._saved = Saved(view, self._states, references)
        self._enriching = Enriching(view, declared, expressions or Expressions()) if references else None
        self._complete = complete or not references
        self._newest = NOTHING
        self._sleeping: dict[bytes, int] = {}
        types = event_types(view, declared)
        come = event_types(view, declared, split_steps(view)[0])
        inputs = self._enriching.inputs if self._enriching is not None else set()
        self._schema = _schema(sorted((_needed(view) | inputs) & {*come}), types)
        """Of events as they come; `_whole`: with what the steps over references add to them."""
        self._whole = _schema(sorted(_needed(view) | inputs), types)
        self._emitter = self._make_emitter()
        self._gives_provisional = view.gives_provisional
        self._provisional = Provisional(self._states if self._gives_provisional else ())

    def _make_emitter(self) -> Emitter:
        if isinstance(self._view.emit, OnEvent):
            return AtEvents(self._states)
        if isinstance(self._view.emit, OnThreshold):
            return AtThresholds(self._view, self._states, self._alarms)
        if isinstance(self._states[0].window, Session):
            return AtSessionEnds(self._states, self._alarms)
        return AtWindowEnds(self._states, self._alarms)

    def add(self, events: pa.RecordBatch) -> ViewOutput:
        """Events in order of arrival, with the view's entity and event columns (all steps before its first
        enrichment have run) and `__event_time`, `__event_id`.

        Late is what is at or before the watermark; a duplicate has the id and time of one that is pending.
        Later duplicates are late. With `online_provisional` returns a provisional row for each entity
        touched, by what is known of references; none until these are complete. Rows of a reference come the
        same way, marked, in any order.
        """
        if reference := reference_of(events):
            return self._refer(reference, events)
        events, refused = self._pending.admit(self._columns(events), self._watermark)
        if not events.num_rows:
            return ViewOutput((), refused)
        chunk = self._chunk(self._so_far(events))
        self._pending.push(chunk)
        np.add.at(self._pending_counts, chunk.indices, 1)
        self._changed[self._group[chunk.indices]] = True
        if self._gives_provisional and self._complete:
            return ViewOutput((self._provisional_rows(chunk),), refused)
        return ViewOutput((), refused)

    def advance(self, watermark: int, created: int) -> ViewOutput:
        """Everything with a time up to `watermark`, in order of (time, event id): final rows, sorted by
        `event_timestamp`; each event sees references as of its time. `created` stamps the rows. A watermark
        that goes back is ignored."""
        if watermark <= self._watermark:
            return ViewOutput()
        after, self._watermark = self._watermark, watermark
        self._wake(watermark)
        due = np.flatnonzero((self._alarms.at <= watermark) & (self._alarms.at != NEVER))
        chunk = self._pending.take_until(watermark)
        if chunk is None and not len(due):
            return ViewOutput()
        if chunk is None:
            chunk = self._chunk(_none(self._whole))
        np.subtract.at(self._pending_counts, chunk.indices, 1)
        for touched in (chunk.indices, due):
            self._changed[self._group[touched]] = True
        failed = ViewOutput()
        if self._enriching is not None and len(chunk):
            chunk, failed = self._resolved(chunk, self._enriching)
            if not len(chunk) and not len(due):
                return failed
        points = self._emitter.advance(chunk, due, after, watermark)
        for touched in (chunk.indices, due):
            self._dirty[touched] = True
            self._touch(touched)
        if not len(points.indices):
            return failed
        if not isinstance(self._view.emit, OnEvent):
            points = self._in_order(points)
        rows, unmade = self._rows.make(points, chunk.events, self._index.entities, created)
        refused = [*failed.refused, *self._unmade(points, chunk, unmade)]
        among = failed.events if failed.refused else chunk.events if unmade else None
        return ViewOutput((FeatureBatch(self._view.id, True, rows),), refused, among)

    def next_time(self) -> int | None:
        """The watermark at which `advance` next has something to do; None where there is nothing."""
        times = [int(self._alarms.at.min())] if len(self._alarms.at) else []
        times += [
            t for t in (self._pending.first, min(self._sleeping.values(), default=None)) if t is not None
        ]
        first = min(times, default=NEVER)
        return None if first == NEVER else first

    def complete(self) -> ViewOutput:
        """All that was known of the references has come again. Returns the provisional rows that waited."""
        if self._complete:
            return ViewOutput()
        self._complete = True
        made = []
        for chunk in self._pending.take_all():
            again = self._chunk(self._so_far(chunk.events.select(self._schema.names)))
            self._pending.push(again)
            made.append(again)
        if not made or not self._gives_provisional:
            return ViewOutput()
        return ViewOutput((self._provisional_rows(join(made)),))

    def __len__(self) -> int:
        """How many entities are in memory."""
        return len(self._index)

    def changes(self, most: int | None = None) -> Changes:
        """What changed since it was last asked. With `most` at most so many entities, of one key group after
        the other, and no headers: so fewer are left for the next time."""
        indices = np.flatnonzero(self._dirty)
        if most is not None and len(indices) > most:
            turns = (self._group[indices] - self._turn) % len(self._changed)
            indices = indices[np.argsort(turns, kind="stable")[:most]]
            self._turn = int(self._group[indices[-1]]) if most else 0
        entities = defaultdict[int, dict[bytes, bytes | None]](dict)
        for row_index, of, above in zip(
            indices.tolist(), self._group[indices].tolist(), self._alarms.above[indices].tolist(), strict=True
        ):
            entity = self._index.entities[row_index]
            assert entity is not None
            key, packed = self._saved.pack_entity(entity, row_index, above, self._watermark)
            entities[of][key] = packed
        self._dirty[indices] = False
        if most is not None:
            return Changes({}, entities)
        if self._enriching is not None:
            self._enriching.forget(self._watermark)
        return Changes(self._headers(), entities)

    def _headers(self) -> dict[int, bytes]:
        changed = np.flatnonzero(self._changed).tolist()
        self._changed[:] = False
        if not changed:
            return {}
        alarms = defaultdict[int, dict[bytes, int]](dict)
        for key, at in self._sleeping.items():
            alarms[key_group(key, len(self._changed))][key] = at
        for row_index in np.flatnonzero(self._alarms.at != NEVER).tolist():
            alarms[int(self._group[row_index])][self._saved.key(self._index.entities[row_index])] = int(
                self._alarms.at[row_index]
            )
        pending = self._pending.by_group(self._group)
        return {
            group: self._saved.pack_header(
                GroupHeader(
                    self._watermark,
                    pending[group].select(self._schema.names) if group in pending else None,
                    alarms.get(group, {}),
                    self._newest,
                )
            )
            for group in changed
        }

    def evict(self, most: int) -> None:
        """Keep at most so many entities in memory, those touched last, and those with changes. Of those that
        time alone can change the time is kept, and they are fetched again when it has come."""
        excess = len(self._index) - most
        if excess <= 0:
            return
        used = np.array([e is not None for e in self._index.entities])
        may = np.flatnonzero(used & (self._pending_counts[: len(used)] == 0) & ~self._dirty[: len(used)])
        for row_index in may[np.argsort(self._used[may], kind="stable")][:excess].tolist():
            entity = self._index.drop(row_index)
            if self._alarms.at[row_index] != NEVER:
                self._sleeping[self._saved.key(entity)] = int(self._alarms.at[row_index])
            self._alarms.at[row_index], self._alarms.above[row_index] = NEVER, False
            for state in self._states:
                state.store.clear(row_index)
            self._provisional.clear(row_index)

    def load(self, headers: Sequence[bytes], created: int) -> list[ViewOutput]:
        """Take over the state of key groups, before anything else. They may have been written at different
        watermarks: what was due in some of them up to the greatest becomes final. Raises `StoreError` where
        it is another view's or newer."""
        outputs = []
        for saved in sorted(map(self._saved.unpack_header, headers), key=lambda header: header.watermark):
            outputs.append(self.advance(saved.watermark, created))
            self._newest = max(self._newest, saved.newest)
            self._sleeping |= saved.alarms
            if saved.pending is not None and saved.pending.num_rows:
                events, _ = self._pending.admit(saved.pending, -NEVER - 1)
                chunk = self._chunk(self._so_far(events))
                self._pending.push(chunk)
                np.add.at(self._pending_counts, chunk.indices, 1)
        return outputs

    def _refer(self, reference: str, rows: pa.RecordBatch) -> ViewOutput:
        if self._enriching is None:
            raise FeatureError(f"view {self._view.id}: rows of reference {reference} came, but it has none")
        self._enriching.take(reference, rows)
        if not self._complete:
            return ViewOutput()
        late = rows.filter(pc.less_equal(rows.column(EVENT_TIME), self._newest))
        times, ids = late.column(EVENT_TIME).to_pylist(), late.column(EVENT_ID).to_pylist()
        return ViewOutput((), [Refused("late_reference", t, i) for t, i in zip(times, ids, strict=True)])

    def _so_far(self, events: pa.RecordBatch) -> pa.RecordBatch:
        """`events` with what is known of the references, for provisional rows."""
        if self._enriching is None:
            return events
        known = self._gives_provisional and self._complete
        made = self._enriching.so_far if known else self._enriching.unknown
        return made(events).select(self._whole.names)

    def _resolved(self, chunk: Chunk, by: Enriching) -> tuple[Chunk, ViewOutput]:
        """Events that become final, with the references as of their times; those on which a step fails."""
        self._newest = max(self._newest, int(chunk.times[-1]))
        come = chunk.events.select(self._schema.names)
        events, kept, failed = by.final(come)
        events = events.select(self._whole.names)
        if not failed and events.equals(chunk.events):
            return chunk, ViewOutput()
        if self._gives_provisional:  # what was added up before was of other values
            for row_index in np.unique(chunk.indices).tolist():
                self._provisional.clear(row_index)
        ids = come.column(EVENT_ID)
        refused = [
            Refused(STEP_FAILED, int(chunk.times[one.row]), ids[one.row].as_py(), one.reason)
            for one in failed
        ]
        rows = tuple(s.layout.lift(events) for s in self._states)
        return Chunk(events, chunk.indices[kept], chunk.times[kept], rows), ViewOutput((), refused, come)

    def _unmade(self, points: Points, chunk: Chunk, failed: Sequence[Failed]) -> list[Refused]:
        """Rows that could not be made, by the event that each is of; one of a window's end has none."""
        found = []
        for one in failed:
            event, entity = int(points.events[one.row]), self._index.entities[int(points.indices[one.row])]
            name = f"{self._view.source}/-1/-1" if event < 0 else chunk.events.column(EVENT_ID)[event].as_py()
            reason = one.reason if event >= 0 else f"of {entity!r:.100}: {one.reason}"
            found.append(Refused(STEP_FAILED, int(points.times[one.row]), name, reason))
        return found

    def _columns(self, events: pa.RecordBatch) -> pa.RecordBatch:
        try:
            found = events.select(self._schema.names)
        except KeyError as e:
            raise FeatureError(f"view {self._view.id}: events have no column {e}") from None
        if found.schema.types != self._schema.types:
            raise FeatureError(
                f"view {self._view.id}: events have columns {found.schema}, declared are {self._schema}"
            )
        return found

    def _chunk(self, events: pa.RecordBatch) -> Chunk:
        indices, new = self._index.find(events)
        self._fetch_new(new)
        self._touch(indices)
        times = events.column(EVENT_TIME).to_numpy()
        return Chunk(events, indices, times, tuple(s.layout.lift(events) for s in self._states))

    def _fetch_new(self, new: list[int]) -> None:
        if not new:
            return
        self._grow()
        keys = [self._saved.key(self._index.entities[row_index]) for row_index in new]
        for row_index, key, packed in zip(new, keys, self._fetch(keys), strict=True):
            self._group[row_index] = key_group(key, len(self._changed))
            alarm = self._sleeping.pop(key, NEVER)
            if packed is not None:
                self._alarms.above[row_index] = self._saved.unpack_entity(row_index, packed)
                self._alarms.at[row_index] = alarm

    def _wake(self, watermark: int) -> None:
        if not self._sleeping:
            return
        due = [unpack_entity(key) for key, at in self._sleeping.items() if at <= watermark]
        if due:
            self._fetch_new(self._index.take(due)[1])

    def _grow(self) -> None:
        need = len(self._index.entities)
        have = len(self._pending_counts)
        if need <= have:
            return
        more = max(need, 2 * have, 64) - have
        self._pending_counts = np.concatenate([self._pending_counts, np.zeros(more, np.int64)])
        self._used = np.concatenate([self._used, np.zeros(more, np.int64)])
        self._dirty = np.concatenate([self._dirty, np.zeros(more, bool)])
        self._group = np.concatenate([self._group, np.zeros(more, np.int64)])
        self._alarms.at = np.concatenate([self._alarms.at, np.full(more, NEVER)])
        self._alarms.above = np.concatenate([self._alarms.above, np.zeros(more, bool)])
        for state in self._states:
            state.store.grow(have + more)
        self._provisional.grow(have + more)

    def _touch(self, indices: Int) -> None:
        self._clock += 1
        self._used[indices] = self._clock

    def _provisional_rows(self, chunk: Chunk) -> FeatureBatch:
        """Of each entity of `chunk` the newest event's row, of final state and pending events."""
        # a row that cannot be made is told of when its event becomes final
        made = [
            self._rows.make(points, events, self._index.entities, 0)[0]
            for points, events in self._provisional.take(chunk, self._pending)
        ]
        if len(made) > 1:
            made = pa.Table.from_batches(made).combine_chunks().to_batches()
        return FeatureBatch(self._view.id, False, made[0])

    def _in_order(self, points: Points) -> Points:
        """By time, then entity, whatever row indices the entities have."""
        entities = self._index.entities
        keys = [entities[i] or () for i in points.indices.tolist()]
        of = sorted(range(len(keys)), key=lambda i: (int(points.times[i]), keys[i], int(points.events[i])))
        return points.take(np.array(of, np.int64))


def _needed(view: FeatureView) -> set[str]:
    """Columns of events that must be kept until they are final."""
    needed = set(view.entity)
    for feature in view.features:
        if isinstance(feature, Value):
            needed.add(feature.column or feature.name)
    for feature in view.aggregates():
        needed.update(getattr(feature.of, "columns", ()), [getattr(feature.of, "column", ""), feature.where])
    return needed - {""}


def _schema(names: Sequence[str], types: Mapping[str, FeatureType]) -> pa.Schema:
    return pa.schema(
        [pa.field(n, ARROW[types[n]]) for n in names]
        + [pa.field(EVENT_TIME, pa.int64()), pa.field(EVENT_ID, pa.string())]
    )


def _none(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)
