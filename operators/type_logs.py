"""What an operator knows of data types, in keyed state that every instance of the next run finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators.flink_internals import instance_of, key_setter
from operators.key_groups import KeyGroups
from udfs.serving.output import Output

IDLE_KEPT = 100
"""Of data types of which only the history is left: which versions were seen."""


class LogKeeper(Protocol):
    """What an operator keeps by data type: a log each, which it was given and gives back."""

    def data_types(self) -> Sequence[str]:
        """Those that were restored."""

    def knows(self, data_type: str) -> bool:
        """Whether a data type was restored."""

    def restore(self, data_type: str, stored: bytes | None) -> Iterable[Output]:
        """Take over the log of a data type; None where there is none yet."""

    def revision(self, data_type: str) -> int:
        """A number that grows with every change of the log; 0 for one that never changed."""

    def log(self, data_type: str) -> bytes:
        """The log, to be stored."""

    def idle(self, data_type: str) -> bool:
        """Whether there is nothing to do for a data type, whose log has nothing but history. Asked when that
        has changed."""

    def drop(self, data_type: str) -> None:
        """Forget a data type that is idle."""


class TypeLogs:
    """A log for each data type: versioned bytes, see `schemas/state`.

    With key groups, an instance works under one key and writes what it knows under the key of each group that
    it owns: after a restart at another parallelism every instance finds it. Without, a key is a data type,
    and has its own log only.

    Of data types that are idle the last `IDLE_KEPT` are known, so that names which whoever publishes invents
    are no more than that.
    """

    def __init__(self, context: RuntimeContext, name: str, groups: KeyGroups | None) -> None:
        self._state = context.get_map_state(
            MapStateDescriptor(name, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )
        self._set_key = key_setter(context)
        self._own: Sequence[str] = () if groups is None else groups.keys_of_instance(*instance_of(context))
        self._written: dict[str, int] = {}
        self._read: set[str] = set()
        self._idle: dict[str, None] = {}

    def restore(self, key: str, data_type: str | None, into: LogKeeper) -> Iterator[Output]:
        """Hand over all logs under the current key, at the first call for it, and then an empty one for
        `data_type` if it is new."""
        if key not in self._read:
            self._read.add(key)
            for known, log in self._state.items():
                if not into.knows(known):
                    yield from into.restore(known, bytes(log))
                    self._sort(known, into)
        if data_type is not None and not into.knows(data_type):
            yield from into.restore(data_type, None)
            self._sort(data_type, into)

    def forget(self, key: str) -> None:
        """Look into the state of a key anew when it is restored again: for one that is not looked after."""
        self._read.discard(key)

    def keep(self, key: str, of: LogKeeper) -> None:
        """Write the logs that changed since they were written last. `key` is the current one.

        With data types as keys, a load that ended under another key is written at this key's next timer;
        until then the log still lists it as waiting, which a restart handles.
        """
        for data_type in of.data_types() if self._own else (key,):
            revision = of.revision(data_type)
            if self._written.get(data_type, 0) != revision:
                self._written[data_type] = revision
                self._write(key, data_type, of.log(data_type))
                self._sort(data_type, of)
        while len(self._idle) > IDLE_KEPT:
            self._drop(key, next(iter(self._idle)), of)

    def _sort(self, data_type: str, of: LogKeeper) -> None:
        self._idle.pop(data_type, None)
        if of.idle(data_type):
            self._idle[data_type] = None

    def _drop(self, key: str, data_type: str, of: LogKeeper) -> None:
        of.drop(data_type)
        self._idle.pop(data_type)
        self._written.pop(data_type, None)
        for own in self._own or (data_type,):
            self._set_key(own)
            self._state.remove(data_type)
        self._set_key(key)

    def _write(self, key: str, data_type: str, log: bytes) -> None:
        if not self._own:
            self._state.put(data_type, log)
            return
        for own in self._own:
            self._set_key(own)
            self._state.put(data_type, log)
        self._set_key(key)
