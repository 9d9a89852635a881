"""Why an operator is refused, and what its owner can do about it."""

from __future__ import annotations

import re
from collections.abc import Collection

from udfs.models.runtimes.tensorflow.graph_ops import ENDING, ENDLESS, UNWRITTEN

_EXPORT = "export what is served without it"

_KINDS: tuple[tuple[str, str], ...] = (
    (
        r"(Eager)?PyFunc(Stateless)?",
        "calls a Python function, which no export carries: write it with TensorFlow's operators, or "
        "compute its "
        "result before as a field of the record",
    ),
    (
        "|".join(sorted(UNWRITTEN)),
        "returns memory that nothing has written, with what other records left in it, always or for empty "
        "inputs: use tf.zeros, or a layer without it",
    ),
    (
        "MatrixLogarithm",
        "never ends for a matrix that has no logarithm: take the matrix as the output, or compute it before "
        "as a field",
    ),
    (
        "|".join(sorted(ENDLESS)),
        "never ends at a rate that is no number: take the rate as the output, or sample before as a field",
    ),
    (
        r"UniformQuantizedConvolution(Hybrid)?",
        "ends the process for inputs without a channel: export the model without uniform quantisation",
    ),
    (
        "|".join(sorted(ENDING)),
        f"ends the process that calls it, for some values of its inputs: {_EXPORT}",
    ),
    (
        r"_?Xla.*|TPU.*|.*TRTEngine.*|.*TfLite.*|Iree.*|.*Mlir.*",
        "runs a program compiled elsewhere, into which no check can look: export the model with "
        "TensorFlow's own "
        "operators (jax2tf with native_serialization=False, tf.function without XLA)",
    ),
)
_CUSTOM = (
    "is not an operator of TensorFlow but of a library of its own, which jobs do not load: compute its part "
    "before as a field of the record, or replace it by TensorFlow's operators"
)
_OWN_KINDS: tuple[tuple[str, str], ...] = (
    (
        r".*(Dataset|Iterator|RebatchData|GenerateBigQuery).*",
        "reads a data set: name the tensor behind it as an input, such as "
        "--input 'IteratorGetNext:float32[4]=a,b,c,d', and the outputs by --output",
    ),
    (
        r".*(Queue|Stag(e|ing)|Unstage|Barrier|BatchFunction|Unbatch|Conditional.*Accumulator).*|Batch",
        "waits for other calls: name the tensor that comes out of it as an input (--input)",
    ),
    (
        r".*(File|Reader|LMDB|Save|Restore|Checkpoint|SummaryWriter|WriteScalar|WriteSummary|WriteGraph).*"
        r"|ImmutableConst",
        "reads or writes files: make what it reads a constant, a variable or an asset of the model, and else "
        + _EXPORT,
    ),
    (
        r".*(Rpc|Send|Recv|Collective|WorkerHeartbeat|ConfigureDistributed|Nccl).*",
        f"talks to other processes: {_EXPORT}",
    ),
    (
        r".*(Grad(ient)?s?(V\d)?|Grad[A-Z].*|Backprop.*|CTCLoss.*)|(Resource)?(Sparse)?Apply[A-Z].*"
        r"|Stack(Close|Pop|Push)?(V2)?",
        "belongs to training, and its kernel is not run on what strangers send: export the signature "
        "without the gradient or the update, or let the job take it (data_types.TYPE.training_operators)",
    ),
)


def reason(op: str, registered: Collection[str]) -> str:
    """Why `op` is not served, and what to do, as the end of a sentence. `registered`: TensorFlow's own.

    >>> reason("PyFunc", ()).partition(",")[0]
    'calls a Python function'
    """
    for pattern, why in _KINDS:
        if re.fullmatch(pattern, op):
            return why
    if op not in registered:
        return _CUSTOM
    for pattern, why in _OWN_KINDS:
        if re.fullmatch(pattern, op):
            return why
    return f"is not one that only computes on tensors: {_EXPORT}"
