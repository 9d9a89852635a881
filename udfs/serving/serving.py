"""The state machine of a scoring operator, without Flink: publications in, models switched, batches scored.

One instance an operator instance, used from its one thread. State lives with the caller: for each data
type a `ModelLog`, handed in once by `restore` and taken out by `log`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial

from schemas.codecs.base import Codec
from schemas.errors import ProcessEndedError
from schemas.micro_batch import MicroBatch
from schemas.results.records import ModelEvent
from schemas.results.results import Experiments
from udfs.models.background_loader import BackgroundLoader, Load, LoadBounds, Loaded
from udfs.models.descriptor import Publication
from udfs.models.loaded_model import LoadedModel
from udfs.models.model_log import LogEntry
from udfs.models.quotas import Quotas
from udfs.serving.model_state import ModelState, Notice
from udfs.serving.output import Output, outputs
from udfs.serving.publication_events import unreadable
from udfs.serving.run import Run
from udfs.serving.scoring import NONE, unscored
from udfs.serving.timed_calls import TimedCalls, TimedModel


class Serving:
    """Models by data type, switched as loads succeed.

    `load` turns a publication into a model, or raises a `ModelError`; `load_again` does so for one that
    served before. Both are called from other threads. `max_batch` bounds the records of one `predict`.
    `raw_json`: payloads are JSON objects. `closes`: called when this is closed.
    """

    def __init__(
        self,
        load: Load,
        codec: Codec,
        *,
        raw_json: bool,
        max_batch: int,
        subtask: int,
        load_again: Load | None = None,
        quotas: Quotas | None = None,
        bounds: LoadBounds | None = None,
        closes: Callable[[], None] = lambda: None,
    ) -> None:
        self._load_again, self._codec = load_again or load, codec
        self._raw_json, self._max_batch, self._subtask = raw_json, max_batch, subtask
        self._states: dict[str, ModelState] = {}
        self._quotas, self._bounds = quotas or Quotas(), bounds or LoadBounds()
        self._loader = BackgroundLoader(load, self._bounds)
        self._closes = closes
        self._calls = TimedCalls(self._quotas.call_seconds)
        self._runs: dict[str, Run] = {}

    def data_types(self) -> Sequence[str]:
        """Those that are known: something was published for them."""
        return tuple(self._states)

    def knows(self, data_type: str) -> bool:
        return data_type in self._states

    def restore(self, data_type: str, stored: bytes | None) -> Sequence[Notice]:
        """Take over the log of a data type. What served before serves again when this returns, which waits
        for one load, as long as its bounds allow; what waited is loaded behind. What ended the process that
        tried it is set aside after as many attempts as a new model has, and what served before it is loaded
        behind.

        Raises the `ModelError` of a model that served before and cannot be loaded now: its store is out of
        reach, most likely, and going on without it would lose it.
        """
        gone = partial(self._gone, data_type)
        state = ModelState(data_type, stored, self._subtask, give_back=gone, quotas=self._quotas)
        sent = state.restored()
        while state.log.served is not None and state.model is None:
            loaded = self._loaded_now(data_type, state.log.served)
            if loaded.error is not None and not isinstance(loaded.error, ProcessEndedError):
                raise loaded.error
            sent += state.reloaded(self._timed(loaded))
        self._states[data_type] = state
        self._load_next(data_type)
        return sent

    def log(self, data_type: str) -> bytes:
        """The state of a data type, to be stored by the caller."""
        return self._states[data_type].log.encoded()

    def revision(self, data_type: str) -> int:
        """A number that grows with every change of the log; 0 for one that never changed."""
        return self._states[data_type].revision if data_type in self._states else 0

    def idle(self, data_type: str) -> bool:
        """Whether a data type has no model, and none that waits or is being loaded."""
        return data_type not in self._states or self._states[data_type].idle

    def drop(self, data_type: str) -> None:
        """Forget a data type that is idle."""
        del self._states[data_type]

    def serves(self, data_type: str) -> bool:
        return data_type in self._states and self._states[data_type].model is not None

    def publish(self, descriptor: bytes, published: Publication) -> Sequence[Notice]:
        """Act on a publication; its data type's log must have been restored. Loading goes on behind."""
        types = (name for name, state in self._states.items() if state.log.candidates())
        sent = self._states[published.data_type].publish(descriptor, published, types)
        self._load_next(published.data_type)
        return sent

    def poll(self) -> Sequence[Notice]:
        """Switch to what has been loaded meanwhile."""
        sent: list[Notice] = []
        for loaded in self._loader.finished():
            sent += self._states[loaded.data_type].switch(self._timed(loaded))
            self._load_next(loaded.data_type)
        return sent

    def settle(self) -> Sequence[Notice]:
        """Wait for every load that is under way or queued behind one. For the end of a finite input."""
        sent: list[Notice] = []
        while any(state.loading for state in self._states.values()):
            self._loader.wait()
            sent += self.poll()
        return sent

    def score(
        self, batch: MicroBatch, experiments: Experiments = NONE, seconds: float = math.inf
    ) -> Generator[Output, None, MicroBatch | None]:
        """Score a batch of a data type that is served, and of which no call is `under_way`; all its records
        are part of `experiments`.

        Returns None, or what is not scored after `seconds`, as a call is under way: the caller keeps that,
        and calls `resume`.
        """
        model = self._states[batch.data_type].model
        assert isinstance(model, TimedModel)
        run = Run(batch, model, self._codec, self._raw_json, self._max_batch, experiments)
        return (yield from self._go_on(batch.data_type, run, seconds))

    def under_way(self, data_type: str) -> bool:
        """Whether a call of the model that serves is under way. Of one that no longer does, nothing is: what
        was not scored is for the next."""
        return data_type in self._runs

    def waits(self, data_type: str) -> bool:
        """Whether to `resume` would be to wait: a call is under way, and may be for some time."""
        return self.under_way(data_type) and self._runs[data_type].waits()

    def resume(self, data_type: str, seconds: float = math.inf) -> Generator[Output, None, MicroBatch | None]:
        """Go on with what `score` or this returned, of a data type of which a call is `under_way`."""
        return (yield from self._go_on(data_type, self._runs.pop(data_type), seconds))

    def forget(self, data_type: str) -> None:
        """Wait for the call that is under way and make nothing of it: what `score` or `resume` returned is to
        be scored as if it were new."""
        self._runs.pop(data_type).end()

    def _go_on(self, data_type: str, run: Run, seconds: float) -> Generator[Output, None, MicroBatch | None]:
        state = self._states[data_type]
        for part, scored in run.go(seconds):
            if scored.lines:  # else the model was not asked, and its fastest call would be one of 0 ms
                state.used(len(scored.lines), scored.failures, scored.ms)
            yield from outputs(part, scored)
        rest, model = run.rest(), run.model
        if rest is not None:
            self._runs[data_type] = run
        elif model.lost:
            yield from state.set_aside(
                f"{model.unresponsive} calls did not come back; the last: {model.reason}"
            )
            self._load_next(data_type)
        return rest

    def release(self, batch: MicroBatch, reason: str, experiments: Experiments = NONE) -> Iterator[Output]:
        """Send a batch on unscored, marked with the reason."""
        yield from outputs(batch, unscored(batch, self._codec, self._raw_json, reason, experiments))

    def left(self, data_type: str, records: int) -> None:
        """Tell in the statistics of the model that serves of records that other jobs score."""
        state = self._states.get(data_type)
        if records and state is not None and state.usage is not None:
            state.usage.left(records)

    def stats(self, every_ms: int = 0) -> Sequence[Notice]:
        """The statistics of the models that serve, where there is news and the last are `every_ms` old."""
        return [sent for state in self._states.values() for sent in state.stats(every_ms)]

    def unreadable(self, descriptor: bytes) -> ModelEvent:
        """The event for bytes on the model stream that are no valid descriptor."""
        return unreadable(descriptor, time.time_ns() // 1_000_000, self._subtask)

    def close(self) -> None:
        """Waits for loads that are under way as the bounds allow, and for no call."""
        self._loader.close()
        for run in self._runs.values():
            run.drop()
        self._runs.clear()
        self._calls.close()
        for state in self._states.values():
            state.close()
        self._states.clear()
        self._closes()

    def _gone(self, data_type: str, model: LoadedModel) -> None:
        run = self._runs.pop(data_type, None)
        if run is not None:
            run.drop()
        model.close()

    def _load_next(self, data_type: str) -> None:
        entry = self._states[data_type].next_load()
        if entry is not None:
            self._loader.submit(data_type, entry)

    def _timed(self, loaded: Loaded) -> Loaded:
        if loaded.model is None:
            return loaded
        return replace(loaded, model=TimedModel(loaded.model, self._calls, self._quotas.unresponsive))

    def _loaded_now(self, data_type: str, entry: LogEntry) -> Loaded:
        loader = BackgroundLoader(self._load_again, self._bounds)
        loader.submit(data_type, entry)
        loader.wait()
        (loaded,) = loader.finished()
        return loaded
