"""The ONNX runtime: one call of ONNX Runtime a micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputsError, PredictError
from schemas.tensors import Columns
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.onnx.calls import Calling, InputTensor, call, tensors_of
from udfs.models.runtimes.onnx.document import answers, categories, changed_by, keep_only, parsed
from udfs.models.runtimes.onnx.guards import guard
from udfs.models.runtimes.onnx.outputs import Fetch, chosen, fetches
from udfs.models.runtimes.onnx.safety import Bounds, check
from udfs.models.runtimes.onnx.session import Session
from udfs.models.runtimes.onnx.tensors import ELEMENTS, constant, model_tensor, shape_of
from udfs.models.runtimes.tensor_inputs import bound_inputs, is_of_the_call, same_for_all

MAX_SECONDS = 10.0


class OnnxRuntime:
    """A model in a session. Made by `load`. `valid_values`: what the encoders of its inputs know.

    `notes` are sentences for who publishes it.
    """

    def __init__(
        self, session: Session, feeds: Sequence[InputTensor], fetched: Sequence[Fetch], how: Calling
    ) -> None:
        self.inputs = tuple(f.bound.input for f in feeds)
        self.valid_values = {f.bound.input.name: f.known for f in feeds if f.known}
        self.outputs = tuple(o for f in fetched for o, _ in f.outputs)
        self._session: Session | None = session
        self._feeds, self._fetched, self._how = tuple(feeds), tuple(fetched), how
        self._names = [f.tensor for f in fetched]
        same = [o.name for f in fetched if f.same for o, _ in f.outputs]
        self.notes = (same_for_all(same),) if same else ()

    def predict(self, columns: Columns) -> Columns:
        """Score n records: columns `(n, *shape)` in and out. Raises `PredictError`."""
        if self._session is None:
            raise PredictError("the model is closed")
        arrays = tensors_of(self._feeds, columns)
        count = len(next(iter(arrays.values())))
        if count == 0:  # some operators do not take it
            return {o.name: np.empty((0, *o.shape), o.dtype.numpy) for o in self.outputs}
        answer: dict[str, NDArray] = {}
        results = call(self._session, self._names, arrays, count, self._how)
        for fetch, result in zip(self._fetched, results, strict=True):
            answer |= fetch.columns(result, count)
        return answer

    def close(self) -> None:
        self._session = None  # the last reference: its memory goes with it


def load(
    artifact: Artifact,
    wanted: WantedSignature,
    bounds: Bounds | None = None,
    max_seconds: float = MAX_SECONDS,
) -> OnnxRuntime:
    """Load an ONNX model from bytes or a file.

    It is cut down to what the wanted outputs need; only that is judged, and only its inputs are asked of
    records. A ZipMap's output is one output a class, `output_class`. A model whose first dimension is fixed
    is taken where it is 1, or the descriptor states the shape of one record: micro-batches are cut and filled
    up. `max_seconds`, or a shorter `wanted.deadline_ms`, bounds each call of a model in which something
    repeats. Raises `UnsafeModelError`, `LoadError` and `InputsError`.
    """
    data = artifact.content("an ONNX model")
    model = parsed(data)
    wishes = chosen(answers(model), wanted)
    cut = keep_only(model, {c.answer.tensor for c in wishes})
    repeats = check(model, len(data), bounds)
    weights = {t.name for t in model.graph.initializer}  # older files list these among the inputs
    declared = [i for i in model.graph.input if i.name not in weights]
    if not declared:
        raise InputsError("the outputs depend on no input: choose others")
    given = {p.name: p for p in wanted.inputs}
    constants = {
        i.name: constant(given[i.name], i)
        for i in declared
        if is_of_the_call(given.get(i.name), shape_of(i.type))
    }
    asked = [i for i in declared if i.name not in constants]
    rest = replace(wanted, inputs=[p for p in wanted.inputs if p.name not in constants])
    bound = bound_inputs([model_tensor(i) for i in asked], rest, fixed_batch=True)
    if not bound:
        raise InputsError("all inputs are constants: leave one to the records")
    known = categories(model)
    feeds = [
        InputTensor(b, ELEMENTS[i.type.tensor_type.elem_type], tuple(known.get(i.name, ())))
        for b, i in zip(bound, asked, strict=True)
    ]
    changed = changed_by(model.graph, {i.name for i in asked})
    same = frozenset(c.answer.tensor for c in wishes) - changed
    guarded, looks = guard(model, {i.name for i in asked})
    how = Calling(constants, next((b.batch for b in bound if b.batch), 0), same, looks)
    seconds = min(max_seconds, wanted.deadline_ms / 1000 or max_seconds)
    session = Session(model.SerializeToString() if cut or guarded else data, seconds if repeats else None)
    return OnnxRuntime(session, feeds, fetches(session, feeds, wishes, how), how)
