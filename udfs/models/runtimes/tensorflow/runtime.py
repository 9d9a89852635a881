"""A model in a TensorFlow session, called with micro-batches."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import LoadError, PredictError, SmokeTestError, UnresponsiveError
from schemas.tensors import LIST, Columns, DType, Input, Output
from udfs.models.runtimes.tensorflow.binding import Bound
from udfs.models.runtimes.tensorflow.element_types import is_complex, output_dtype, widened
from udfs.models.runtimes.tensorflow.session import first_line, prepared_call

PROBE_ROWS = 3


class SessionRuntime:
    """A model in a session. It owns the session; `close` ends it.

    `bound` says what is fed; `outputs` are output name -> tensor name; of those in `constants`, which no
    input changes, a call gives one value for all its records. `notes` are sentences for who publishes the
    model. `deadline_ms`: after which TensorFlow ends a call; 0 for never. `writes`: the model may write into
    the memory of what it is fed, so that it is fed copies: columns are others' too. Raises `LoadError`; the
    session is then still the caller's to close.
    """

    def __init__(
        self,
        session: Any,
        bound: Bound,
        outputs: Mapping[str, str],
        constants: Collection[str] = (),
        notes: Sequence[str] = (),
        *,
        deadline_ms: int = 0,
        writes: bool = False,
    ) -> None:
        self.inputs = tuple(i for feed in bound.feeds for i in feed.inputs)
        self.notes = tuple(notes)
        self._feeds, self._batch = bound.feeds, bound.batch
        self._session, self._deadline_ms, self._writes = session, deadline_ms, writes
        self._names = tuple(outputs)
        self._constants = [name in constants for name in outputs]
        graph = session.graph
        try:
            tensors = [graph.get_tensor_by_name(name) for name in outputs.values()]
            feeds = [tensor for feed in self._feeds for tensor in feed.tensors]
            self._call = prepared_call(session, feeds, [t.name for t in tensors], deadline_ms)
        except Exception as e:
            raise LoadError(f"the model's tensors cannot be called: {first_line(e)}") from e
        kinds = [_output_dtype(name, t) for name, t in zip(self._names, tensors, strict=True)]
        self._kinds = kinds
        self._as_is = [
            kind is not DType.TEXT and t.dtype.as_numpy_dtype == kind.numpy
            for kind, t in zip(kinds, tensors, strict=True)
        ]
        told = [
            _inner_shape(t, constant, self._batch)
            for t, constant in zip(tensors, self._constants, strict=True)
        ]
        known = [shape for shape in told if shape is not None]
        shapes = known if len(known) == len(told) else self._probed()
        self.outputs = tuple(Output(*parts) for parts in zip(self._names, kinds, shapes, strict=True))

    def predict(self, columns: Columns) -> Columns:
        """Score n records: columns `(n, *shape)` in and out. Raises `PredictError`."""
        if self._call is None:
            raise PredictError("the model is closed")
        try:
            count = len(columns[self.inputs[0].name])
            if self._batch is None:
                results = self._results(columns, count)
            else:
                results = self._padded(columns, count, self._batch)
        except KeyError as e:
            raise PredictError(f"the records have no column {e}, which the model reads") from None
        except PredictError:
            raise
        except Exception as e:
            if self._deadline_ms and type(e).__name__ == "DeadlineExceededError":
                seconds = self._deadline_ms / 1000
                raise UnresponsiveError(f"a call did not come back within {seconds:g} s") from e
            raise PredictError(f"the model failed on the micro-batch: {first_line(e)}") from e
        return dict(zip(self._names, results, strict=True))

    def close(self) -> None:
        session, self._session, self._call = self._session, None, None
        if session is not None:
            session.close()

    def _results(self, columns: Columns, count: int) -> list[NDArray]:
        arrays = [array for feed in self._feeds for array in feed.arrays(columns, count)]
        if self._writes:
            arrays = [array.copy() for array in arrays]
        results = [
            np.array(r, object) if isinstance(r, bytes) else np.asarray(r) for r in self._call(*arrays)
        ]
        for n, (name, result) in enumerate(zip(self._names, results, strict=True)):
            if self._constants[n]:
                results[n] = np.broadcast_to(result, (count, *result.shape))
            elif result.ndim == 0 or len(result) != count:
                raise PredictError(
                    f"output {name!r} has the shape {result.shape} for {count} records, not one row a "
                    "record: "
                    "choose others by --output"
                )
            if not self._as_is[n]:
                text = self._kinds[n] is DType.TEXT
                results[n] = _texts(results[n]) if text else widened(results[n], self._kinds[n])
        return results

    def _padded(self, columns: Columns, count: int, batch: int) -> list[NDArray]:
        """As `_results`, in calls of `batch` records each, the last one filled up with its last record."""
        parts = []
        for start in range(0, count, batch):
            rows = np.minimum(np.arange(start, start + batch), count - 1)
            part = self._results({i.name: columns[i.name][rows] for i in self.inputs}, batch)
            parts.append([result[: count - start] for result in part])
        return [np.concatenate(results) for results in zip(*parts, strict=True)]

    def _probed(self) -> list[tuple[int, ...]]:
        """The shapes of outputs that the graph does not tell, from a call on made-up rows.

        The graph tells most. For others there is a call on ones and one on zeros (empty texts), of which one
        may be outside of what the model takes.
        """
        made = _made_up(self.inputs)
        probes = [made]
        if not any(i.shape == LIST for i in self.inputs):
            zeros = {
                name: np.full(column.shape, "" if column.dtype == object else 0, column.dtype)
                for name, column in made.items()
            }
            probes.append(zeros)
        shapes: dict[tuple[tuple[int, ...], ...], None] = {}
        failed: Exception = SmokeTestError("")
        for rows in probes:
            try:
                results = self.predict(rows)
            except PredictError as e:
                failed = e
            else:
                shapes[tuple(results[name].shape[1:] for name in self._names)] = None
        if not shapes:
            raise LoadError(
                f"the outputs have no known shape, and a call on {PROBE_ROWS} made-up records failed: "
                f"{failed}. A model that takes one number of records only must be exported to take any"
            )
        first, *others = shapes
        for name, *found in zip(self._names, first, *others, strict=True):
            if len(set(found)) > 1:
                raise LoadError(
                    f"output {name!r} has the shape {found[0]} for some records and {found[1]} for others: "
                    "export it with a fixed one (to_tensor(shape=...), padding), or choose others by --output"
                )
        return list(first)


def _made_up(inputs: Sequence[Input]) -> dict[str, NDArray]:
    """`PROBE_ROWS` rows of ones, of which lists have different lengths."""
    rows: dict[str, NDArray] = {}
    for i in inputs:
        one = "1" if i.dtype is DType.TEXT else 1
        if i.shape == LIST:
            rows[i.name] = np.empty(PROBE_ROWS, object)
            rows[i.name][:] = [np.full(n + 1, one, i.dtype.numpy) for n in range(PROBE_ROWS)]
        else:
            rows[i.name] = np.full((PROBE_ROWS, *i.shape), one, i.dtype.numpy)
    return rows


def _texts(texts: NDArray) -> NDArray:
    """Bytes as text: as UTF-8, and what is none as base64 (RFC 4648)."""
    flat = [_text(t) if isinstance(t, bytes) else t for t in texts.ravel()]
    made = np.empty(len(flat), object)
    made[:] = flat
    return made.reshape(texts.shape)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii")


def _output_dtype(name: str, tensor: Any) -> DType:
    dtype = output_dtype(tensor.dtype)
    if dtype is None:
        raise LoadError(
            f"output {name!r} is of type {tensor.dtype.name}, which no result holds: choose others by "
            "--output, "
            "or export it as another type (tf.cast)"
        )
    return dtype


def _inner_shape(tensor: Any, constant: bool, batch: int | None) -> tuple[int, ...] | None:
    """The shape of one record's result, or None where the graph does not tell or fixes another batch."""
    if tensor.shape.rank is None or (not constant and not tensor.shape.rank):
        return None
    inner = tensor.shape if constant else tensor.shape[1:]
    if not inner.is_fully_defined() or (not constant and tensor.shape[0] != batch):
        return None
    return (*inner.as_list(), 2) if is_complex(tensor.dtype) else tuple(inner.as_list())
