"""What a keyed function is given by Flink, in memory: state by key, the instance's number; no JVM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from operators.key_groups import KeyGroups

ONE_GROUP = KeyGroups(("0",))
"""The key groups of a job with a maximum parallelism of one."""
FOUR_GROUPS = KeyGroups(("0", "1", "2", "3"))


class State:
    """Value, list and map state of the key at hand, as Flink keeps it: outside the operator."""

    def __init__(self, context: KeyedContext, name: str) -> None:
        self._context, self._of, self._name = context, context.states[name], name

    def value(self) -> Any:
        return self._of.get(self._context.key)

    def update(self, value: Any) -> None:
        self._context.updates.append(self._name)
        self._of[self._context.key] = value

    def clear(self) -> None:
        self._of.pop(self._context.key, None)

    def add(self, value: Any) -> None:
        self._of.setdefault(self._context.key, []).append(value)

    def _map(self, *names: Any) -> dict[Any, Any]:
        assert not any(isinstance(n, bytes) for n in names), "Java's byte arrays equal only themselves"
        return self._of.setdefault(self._context.key, {})

    def get(self, name: Any = None) -> Any:
        return self.value() if name is None else self._map(name).get(name)

    def put(self, name: Any, value: Any) -> None:
        self._context.updates.append(self._name)
        self._map(name)[name] = value

    def contains(self, name: Any) -> bool:
        return name in self._map(name)

    def put_all(self, values: Mapping[Any, Any]) -> None:
        self._map(*values).update(values)

    def remove(self, name: Any) -> None:
        self._map(name).pop(name, None)

    def keys(self) -> Iterable[Any]:
        return list(self._map())

    def items(self) -> Iterable[tuple[Any, Any]]:
        return list(self._map().items())


class Gauges:
    """A group of metrics. `asked`: dotted name -> what gives its value, of all groups."""

    def __init__(self, name: str = "", asked: dict[str, Callable[[], int]] | None = None) -> None:
        self._name, self.asked = name, {} if asked is None else asked

    def add_group(self, *names: str) -> Gauges:
        return Gauges("".join((self._name, *(f"{name}." for name in names))), self.asked)

    def gauge(self, name: str, ask: Callable[[], int]) -> None:
        assert self._name + name not in self.asked
        self.asked[self._name + name] = ask


class KeyedContext:
    """The runtime context of one instance of `parallelism`. `states`: name -> key -> what is kept, which
    outlives the operator as in a savepoint; `updates`: the names of states in the order of writes."""

    def __init__(
        self, states: dict[str, dict[str, Any]] | None = None, index: int = 0, parallelism: int = 1
    ) -> None:
        self.states: dict[str, dict[str, Any]] = defaultdict(dict)
        self.states.update(states or {})
        self.key = ""
        self.updates: list[str] = []
        self.index, self._parallelism = index, parallelism
        self.metrics = Gauges()

    def get_metrics_group(self) -> Gauges:
        return self.metrics

    def get_state(self, descriptor: Any) -> State:
        return State(self, descriptor.name)

    get_list_state = get_map_state = get_state

    def get_index_of_this_subtask(self) -> int:
        return self.index

    def get_attempt_number(self) -> int:
        return 0

    def get_number_of_parallel_subtasks(self) -> int:
        return self._parallelism

    @property
    def _keyed_state_backend(self) -> Any:
        """As in process mode: the backend is PyFlink's own."""
        return SimpleNamespace(set_current_key=self._set_key)

    def _set_key(self, row: Any) -> None:
        (self.key,) = row
