"""Why an operator is refused, and what its owner can do about it."""

from __future__ import annotations

import re
from collections.abc import Collection

from udfs.models.runtimes.tensorflow.graph_ops import UNWRITTEN

_PYTHON = re.compile(r"(Eager)?PyFunc(Stateless)?")
_COMPILED = re.compile(r"_?Xla.*|TPU.*|.*TRTEngine.*|.*TfLite.*|Iree.*|.*Mlir.*")
_FILES = re.compile(
    r".*(File|Reader|LMDB|Save|Restore|Checkpoint|SummaryWriter|WriteScalar|WriteSummary|WriteGraph).*"
    r"|ImmutableConst"
)
_DATASETS = re.compile(r".*(Dataset|Iterator|RebatchData|GenerateBigQuery).*")
_QUEUES = re.compile(
    r".*(Queue|Stag(e|ing)|Unstage|Barrier|BatchFunction|Unbatch|Conditional.*Accumulator).*|Batch"
)
_NETWORK = re.compile(r".*(Rpc|Send|Recv|Collective|WorkerHeartbeat|ConfigureDistributed|Nccl).*")
_TRAINING = re.compile(
    r".*(Grad(ient)?s?(V\d)?|Grad[A-Z].*|Backprop.*|CTCLoss.*)|(Resource)?(Sparse)?Apply[A-Z].*"
)

_EXPORT = "export what is served without it"


def reason(op: str, registered: Collection[str]) -> str:
    """Why `op` is not served, and what to do, as the end of a sentence. `registered`: TensorFlow's own."""
    if _PYTHON.fullmatch(op):
        return (
            "calls a Python function, which no export carries: write it with TensorFlow's operators, or compute "
            "its result before as a field of the record"
        )
    if op in UNWRITTEN:
        return (
            "returns memory that nothing has written, with what other records left in it: "
            "use tf.zeros, or a layer without it"
        )
    if _COMPILED.fullmatch(op):
        return (
            "runs a program compiled elsewhere, into which no check can look: export the model with "
            "TensorFlow's own operators (jax2tf with native_serialization=False, tf.function without XLA)"
        )
    if op not in registered:
        return (
            "is not an operator of TensorFlow but of a library of its own, which jobs do not load: compute its "
            "part before as a field of the record, or replace it by TensorFlow's operators"
        )
    if _DATASETS.fullmatch(op):
        return (
            "reads a data set: export what follows it, or name the tensor behind it as an input "
            "(--input 'IteratorGetNext:float32[4]=a,b,c,d') and the outputs"
        )
    if _QUEUES.fullmatch(op):
        return "waits in a queue for other calls: name as an input the tensor that comes out of it (--input)"
    if _FILES.fullmatch(op):
        return (
            "reads or writes files: make what it reads a constant, a variable or an asset of the model, and "
            f"else {_EXPORT}"
        )
    if _NETWORK.fullmatch(op):
        return f"talks to other processes: {_EXPORT}"
    if _TRAINING.fullmatch(op):
        return (
            "belongs to training, and its kernel is not run on what strangers send: export the signature without "
            "the gradient or the update"
        )
    return f"is not one that only computes on tensors: {_EXPORT}"
