"""TensorFlow as an operator uses it: one thread, no devices, one graph and one session a model.

Sessions, because they are the quickest way to call a small model (a prepared call costs a tenth of a
`ConcreteFunction` at batch 1) and because a closed session gives everything back, where functions loaded
by `tf.saved_model.load` stay in the process-wide eager context.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from schemas.errors import LoadError
from udfs.models.memory import available
from udfs.models.runtimes.tensor_inputs import ModelTensor
from udfs.models.runtimes.tensorflow.element_types import input_dtype

_IMPORT = Lock()
_KERAS = "keras.src"
_LONGEST = 2000
_SHARE = 2  # of all memory, which part tensors may fill: weights, and what calls make
_NO_REASON = "Graph execution error:"  # the first line of some, before the reason
_INSIDE = re.compile(r"\{\{function_node [^}]*\}\}\s*")


def configured_tensorflow() -> Any:
    """The `tensorflow` module, set to one thread inside and one between operators, quiet, without GPU.

    All its tensors together may fill half of the memory that this process may have: a record that asks for
    more fails, where it ended the process. TF_MKL_ALLOC_MAX_BYTES, where it is set, says another bound.
    Where someone else has already started TensorFlow in this process its threads stay as they are; sessions
    made here still run each call in the thread that asks. All that imports a part of it must call this first:
    two threads that import it at once, each another part, may wait for each other and both fail.
    """
    with _IMPORT:
        return _tensorflow()


@cache
def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    # else all memory of the machine, also of what a container may not have: whoever asks for more is refused
    os.environ.setdefault("TF_MKL_ALLOC_MAX_BYTES", str(available() // _SHARE))
    with _without_keras():
        import tensorflow as tf  # noqa: PLC0415

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # already started
        pass
    return tf


@contextmanager
def _without_keras() -> Iterator[None]:
    """TensorFlow loads all of Keras when it is imported, with scikit-learn, scipy and pandas where they are
    installed: two fifths of the import's time and 145 MB, for classes that a graph does not need. It goes on
    without where Keras cannot be imported; `import keras` and `tf.keras` work afterwards as ever."""
    if _KERAS in sys.modules:
        yield
        return
    sys.modules[_KERAS] = None  # type: ignore[assignment]  # Python's way to say that there is no such module
    try:
        yield
    finally:
        del sys.modules[_KERAS]


def imported(graph_def: Any) -> Any:
    """A new `tf.Graph` of `graph_def`. Raises `LoadError`."""
    tf = configured_tensorflow()
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.graph_util.import_graph_def(graph_def, name="")
    # TensorFlow reports a bad graph by ValueError, TypeError, KeyError, its own OpError and others.
    except Exception as e:
        raise LoadError(f"TensorFlow does not take the graph: {first_line(e)}") from e
    return graph


def session_on(graph: Any) -> Any:
    """A session of its own for `graph`, one thread wide. Calls with a deadline run on that thread, which no
    other session shares: one that is stuck holds up its own model only."""
    v1 = configured_tensorflow().compat.v1
    config = v1.ConfigProto(
        intra_op_parallelism_threads=1,
        inter_op_parallelism_threads=1,
        use_per_session_threads=True,
        allow_soft_placement=True,
    )
    return v1.Session(graph=graph, config=config)


def prepared_call(session: Any, feeds: Sequence[str], fetches: Sequence[str], deadline_ms: int = 0) -> Any:
    """A call of `len(feeds)` arrays that gives a list of arrays. It runs in the calling thread, or with a
    deadline in the session's: only such a call can TensorFlow end, between two operations."""
    from tensorflow.core.protobuf import config_pb2  # noqa: PLC0415

    options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
    if deadline_ms:
        options.run_options.timeout_in_ms = deadline_ms
    else:
        options.run_options.inter_op_thread_pool = -1  # no hand-over to another thread and back
    return session._make_callable_from_options(options)


def model_tensor(name: str, tensor: Any) -> ModelTensor:
    """The `ModelTensor` called `name` of a graph's tensor."""
    shape = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return ModelTensor(name, input_dtype(tensor.dtype), tensor.dtype.name, shape)


def first_line(error: Exception) -> str:
    """What a user needs of an error of TensorFlow: its first line, without made-up names of functions."""
    # cut first: a record's text in it may hold the beginning of such a name many times over
    text = _INSIDE.sub("", str(error)[:_LONGEST]).strip().removeprefix(_NO_REASON).lstrip()
    return text.splitlines()[0][:300] if text else type(error).__name__
