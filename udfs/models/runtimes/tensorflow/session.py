"""TensorFlow as a slot uses it: one thread, no devices, one graph and one session a model.

Sessions, because they are the quickest way to call a small model (a prepared call costs a tenth of a
`ConcreteFunction` at batch 1) and because a closed session gives everything back, where functions loaded
by `tf.saved_model.load` stay in the process-wide eager context.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import LoadError, PredictError
from schemas.tensors import Columns, DType, Output
from udfs.models.runtimes.tensor_inputs import BoundInput, ModelTensor

PROBE_ROWS = 3
_IMPORT = Lock()


def configured_tensorflow() -> Any:
    """The `tensorflow` module, set to one thread inside and one between operators, quiet, without GPU.

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
    import tensorflow as tf  # noqa: PLC0415

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # already started
        pass
    return tf


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
    """A session of its own for `graph`, one thread wide."""
    v1 = configured_tensorflow().compat.v1
    config = v1.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1, allow_soft_placement=True
    )
    return v1.Session(graph=graph, config=config)


def prepared_call(session: Any, feeds: Sequence[str], fetches: Sequence[str]) -> Any:
    """A call of `len(feeds)` arrays that gives a list of arrays, and runs in the calling thread."""
    from tensorflow.core.protobuf import config_pb2  # noqa: PLC0415

    options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
    options.run_options.inter_op_thread_pool = -1  # no hand-over to another thread and back
    return session._make_callable_from_options(options)


class SessionRuntime:
    """A model in a session. It owns the session; `close` ends it.

    `feeds` are the tensor names (`x:0`) of `bound`, in its order; `outputs` are output name -> tensor name.
    Raises `LoadError`; the session is then still the caller's to close.
    """

    def __init__(
        self,
        session: Any,
        bound: Sequence[BoundInput],
        feeds: Sequence[str],
        outputs: Mapping[str, str],
    ) -> None:
        self.inputs = tuple(b.input for b in bound)
        self._ranks = tuple(1 + len(b.inner) for b in bound)
        self._session = session
        self._names = tuple(outputs)
        graph = session.graph
        try:
            tensors = [graph.get_tensor_by_name(name) for name in outputs.values()]
            self._call = prepared_call(session, feeds, [t.name for t in tensors])
        except Exception as e:
            raise LoadError(f"the model's tensors cannot be called: {first_line(e)}") from e
        kinds = [_output_dtype(name, t) for name, t in zip(self._names, tensors, strict=True)]
        self._text = [kind is DType.TEXT for kind in kinds]
        told = [_inner_shape(t) for t in tensors]
        known = [shape for shape in told if shape is not None]
        shapes = known if len(known) == len(told) else self._probed()
        self.outputs = tuple(Output(*parts) for parts in zip(self._names, kinds, shapes, strict=True))

    def predict(self, columns: Columns) -> Columns:
        """Score n records: columns `(n, *shape)` in and out. Raises `PredictError`."""
        if self._call is None:
            raise PredictError("the model is closed")
        try:
            arrays = [
                _fed(columns[i.name], i.dtype.numpy, rank)
                for i, rank in zip(self.inputs, self._ranks, strict=True)
            ]
            results = self._call(*arrays)
        except KeyError as e:
            raise PredictError(f"the block has no column {e}, which the model reads") from None
        except Exception as e:
            raise PredictError(f"the model failed on the block: {first_line(e)}") from e
        count = len(arrays[0])
        for name, result in zip(self._names, results, strict=True):
            if result.ndim == 0 or len(result) != count:
                raise PredictError(f"output {name!r} has shape {result.shape} for a block of {count} records")
        if any(self._text):
            results = [_decoded(r) if text else r for r, text in zip(results, self._text, strict=True)]
        return dict(zip(self._names, results, strict=True))

    def close(self) -> None:
        session, self._session, self._call = self._session, None, None
        if session is not None:
            session.close()

    def _probed(self) -> list[tuple[int, ...]]:
        """The shapes of outputs that the graph does not tell, from a call on zeros and empty texts."""
        rows = [
            np.full((PROBE_ROWS, *i.shape), "" if i.dtype is DType.TEXT else 0, i.dtype.numpy)
            for i in self.inputs
        ]
        try:
            results = self._call(
                *(_fed(row, row.dtype, rank) for row, rank in zip(rows, self._ranks, strict=True))
            )
        except Exception as e:
            raise LoadError(f"the outputs have no known shape, and a trial failed: {first_line(e)}") from e
        for name, result in zip(self._names, results, strict=True):
            if result.ndim == 0 or len(result) != PROBE_ROWS:
                raise LoadError(
                    f"output {name!r} has shape {result.shape} for {PROBE_ROWS} records: not one row a record"
                )
        return [result.shape[1:] for result in results]


def _fed(column: NDArray, dtype: np.dtype, rank: int) -> NDArray:
    array = np.ascontiguousarray(column, dtype)
    return array if array.ndim == rank else array.reshape(-1, *(1,) * (rank - 1))


def _decoded(texts: NDArray) -> NDArray:
    flat = [t.decode("utf-8", "replace") if isinstance(t, bytes) else t for t in texts.ravel()]
    return np.array(flat, object).reshape(texts.shape)


def dtype_of(tensor_dtype: Any) -> DType | None:
    """The `DType` of a TensorFlow element type, or None for one that no record field can hold."""
    name = "text" if tensor_dtype.name == "string" else tensor_dtype.name
    return DType(name) if name in {d.value for d in DType} else None


def model_tensor(name: str, tensor: Any) -> ModelTensor:
    """The `ModelTensor` called `name` of a graph's tensor."""
    shape = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return ModelTensor(name, dtype_of(tensor.dtype), tensor.dtype.name, shape)


def _output_dtype(name: str, tensor: Any) -> DType:
    dtype = dtype_of(tensor.dtype)
    if dtype is None:
        raise LoadError(f"output {name!r} holds {tensor.dtype.name}: name other outputs in the descriptor")
    return dtype


def _inner_shape(tensor: Any) -> tuple[int, ...] | None:
    """The shape behind the batch dimension, or None where the graph does not tell or fixes the batch."""
    if tensor.shape.rank in (None, 0) or tensor.shape[0] is not None:
        return None
    inner = tensor.shape[1:]
    return tuple(inner.as_list()) if inner.is_fully_defined() else None


def first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
