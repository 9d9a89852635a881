"""What reaches into PyFlink's internals, each with its reason. Written for PyFlink 2.3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from py4j.java_gateway import JavaPackage
from pyflink.common import Row
from pyflink.common.typeinfo import RowTypeInfo, Types
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.datastream.functions import RuntimeContext
from pyflink.java_gateway import get_gateway

from schemas.errors import SettingsError


def instance_of(context: RuntimeContext) -> tuple[int, int]:
    """The number of this instance of the operator, and how many there are.

    Thread mode asks Java for methods that Flink 2 moved to the task's info.
    """
    java = getattr(context, "_runtime_context", None)
    if java is None:
        return context.get_index_of_this_subtask(), context.get_number_of_parallel_subtasks()
    task = java.getTaskInfo()
    return task.getIndexOfThisSubtask(), task.getNumberOfParallelSubtasks()


def restarted(context: RuntimeContext) -> bool:
    """Whether the task has been started before in this run of the job, and failed.

    Thread mode asks Java, as `instance_of` does.
    """
    java = getattr(context, "_runtime_context", None)
    attempt = context.get_attempt_number() if java is None else java.getTaskInfo().getAttemptNumber()
    return int(attempt) > 0


def key_setter(context: RuntimeContext) -> Callable[[str], None]:
    """A function that makes a key the current one for state, until Flink sets the next element's.

    An instance owns several key groups and works under the key of one of them. What must outlive another
    parallelism is written under the key of each, and PyFlink has no call for that.
    """
    backend: Any = context._keyed_state_backend
    java = getattr(backend, "_keyed_state_backend", None)
    if java is None:  # process mode: the backend is PyFlink's own
        return lambda key: backend.set_current_key(Row(key))
    from pemja import findClass  # noqa: PLC0415 - exists inside the JVM only

    row_class = findClass("org.apache.flink.types.Row")
    rows: dict[str, Any] = {}

    def set_key(key: str) -> None:
        row = rows.get(key)
        if row is None:
            row = rows[key] = row_class(1)
            row.setField(0, key)
        java.setCurrentKey(row)

    return set_key


def change_map(state: Any, changes: Mapping[Any, Any]) -> None:
    """Put entries into map state, and remove those whose value is None.

    In process mode PyFlink's `put_all` takes what it iterates over for pairs.
    """
    kept = {key: value for key, value in changes.items() if value is not None}
    if kept:
        state.put_all(kept.items() if hasattr(state, "get_internal_state") else kept)
    for key in changes.keys() - kept.keys():
        state.remove(key)


def grouped_map(context: RuntimeContext, state: Any) -> Any:
    """`millrace.GroupedMap` over a map state, or None in process mode, which reaches no Java."""
    backend: Any = context._keyed_state_backend
    java = getattr(backend, "_keyed_state_backend", None)
    if java is None:
        return None
    runtime: Any = context
    loader = runtime._runtime_context.getUserCodeClassLoader()  # pemja's own knows the cluster's lib/ alone
    return loader.loadClass("millrace.GroupedMap").newInstance().of(java, state._state)


def own_class(name: str) -> Any:
    """A class of `operators/jvm`. Raises `SettingsError` where Flink's class path lacks their jar."""
    found = getattr(get_gateway().jvm.millrace, name)
    if isinstance(found, JavaPackage):  # what Py4J makes of a name that it does not know
        raise SettingsError(
            "millrace-jvm.jar is not on Flink's class path: run scripts/setup, which puts it into "
            ".cache/jars/lib, and copy it to Flink's lib/ where the cluster is another's"
        )
    return found


def set_table_uids(env: StreamExecutionEnvironment, prefixes: Sequence[str]) -> None:
    """Begin the uids of the steps of each statement that was attached with its own of `prefixes`.

    The planner's own are numbers, of all steps of all statements: with one more table the others would find
    the state of a neighbour in a savepoint, or none. A step of several statements, which has no state, gets
    the prefix of the first. A batch job, which has no savepoints, has no uids.
    """
    attached = env._j_stream_execution_environment.getTransformations().toArray()
    ends = [end for end in attached if _planned(end)]
    for prefix, end in zip(prefixes if ends else [], ends, strict=True):
        named: Counter[str] = Counter()
        for step in filter(_planned, end.getTransitivePredecessors().toArray()):
            kind = str(step.getUid()).partition("_")[2]
            named[kind] += 1
            step.setUid(f"{prefix}-{kind}" + (f"-{named[kind]}" if named[kind] > 1 else ""))


def _planned(step: Any) -> bool:
    """Whether the step's uid is the planner's: a number and a kind."""
    return str(step.getUid()).partition("_")[0].isdecimal()


def keyed_by_first(stream: DataStream, row_type: RowTypeInfo) -> KeyedStream:
    """Rows of a key and a value, keyed by the first: `process` is called with the second.

    PyFlink's `key_by` would send every micro-batch through Python once more to find its key. PyFlink's keyed
    operators take exactly this shape, so the step can be left out.
    """
    types = row_type.get_field_types()
    selector = get_gateway().jvm.KeyByKeySelector()
    keyed = stream._j_data_stream.keyBy(selector, Types.ROW([types[0]]).get_java_type_info())
    return KeyedStream(keyed, types[1], stream)


def current_key(ctx: Any) -> str:
    """The key that a function on such a stream is called for."""
    key = ctx.get_current_key()
    return str(key[0] if isinstance(key, (tuple, list)) else key)
