"""Refuse TensorFlow graphs that could read, write, open or execute anything, or end the process.

Judged is what is loaded: the pruned graph of the chosen outputs, with each function that it calls, and what
fills its variables and tables. What lies beside it in the export is not loaded, and not judged. Operators on
files are allowed only to the loader's own ends: checkpoints are read by what restores, vocabularies by what
fills tables, both only from the file name that the loader feeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import LoadError, UnsafeModelError
from udfs.models.runtimes.tensorflow.graph_calls import callees_first
from udfs.models.runtimes.tensorflow.graph_files import FedTensors, possible_parts
from udfs.models.runtimes.tensorflow.graph_nesting import nests
from udfs.models.runtimes.tensorflow.graph_ops import ALLOWED, RESTORES, TEXT_TABLES, TRAINING
from udfs.models.runtimes.tensorflow.graph_plain import HANDLE_DTYPES
from udfs.models.runtimes.tensorflow.graph_walk import INT, GraphWalk, Reached, named_functions, node_of
from udfs.models.runtimes.tensorflow.op_reasons import reason
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

MAX_CONSTANTS = 1 << 30
"""Bytes that a graph's constants may fill in memory beyond those that the file itself holds."""

_MOST = {
    "num_sampled": 1 << 16,  # without repetition, the last of many take hours to find
    "pad_width": 1000,
    "precision": 1000,
    "range_max": 1 << 24,
    "rounds": 1000,
    "stride": 1 << 24,
    "width": 1000,
    "window_size": 1 << 24,
    **dict.fromkeys(
        (
            "Ncontext_dense", "Ncontext_sparse", "Ndense", "Nfeature_list_dense", "Nfeature_list_sparse",
            "Nragged", "Nsparse", "num_context_sparse", "num_context_dense", "num_feature_list_dense",
            "num_feature_list_sparse", "num_sparse",
        ),
        100_000,
    ),
}  # fmt: skip
"""Attributes that say how long or how often, and the most of each: what is beyond ends the process, or fills
it with texts."""

_STEPS = ("dilations", "ksize", "ksizes", "rates", "strides")
"""Attributes that say how far it is to the next number: a kernel that is only made may divide by them."""

_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_WRITTEN = 3
"""Of their results, so many are always written: what they keep for gradients is not, by some kernels."""

_IMPORTS = frozenset({"LookupTableImport", "LookupTableImportV2"})
_PARTS = 2  # of RestoreV2, the argument that says which parts of the values are read
_CONCRETE = "export the model by tf.function, whose functions have types of their own"


@dataclass(frozen=True, slots=True)
class Served:
    """What of a graph is run, and when. `scoring`: by each call; `restoring` and `filling`: once, at loading.

    `variables`: the tensor to which the checkpoint's name is fed; `assets`: those of files of the archive.
    `training`: kernels of training are taken. `handed_out`: the tensors that callers get.
    """

    scoring: Reached
    filling: Reached = field(default_factory=Reached)
    restoring: Reached = field(default_factory=Reached)
    variables: Sequence[str] = ()
    assets: Collection[str] = ()
    training: bool = False
    handed_out: Collection[str] = ()


def check_graph(graph_def: Any, served: Served) -> list[str]:
    """Raise `UnsafeModelError` unless all of `graph_def` is on the allow-list; its functions, callees first.

    Takes time linear in the graph.
    """
    _check_names(graph_def)
    _check_concrete(graph_def)
    walk = GraphWalk(graph_def)
    order = callees_first(walk, Reached(set(walk.nodes), set(walk.functions)))
    check = _Check(walk, order, served)
    unfolded = 0
    for node in graph_def.node:
        unfolded += check.node(node, None)
    check.results(served.handed_out, None)
    for function in graph_def.library.function:
        check.results(function.ret.values(), function.signature.name)
        for node in function.node_def:
            unfolded += check.node(node, function.signature.name)
    if unfolded > MAX_CONSTANTS:
        raise UnsafeModelError(
            f"the graph's constants fill {unfolded:,} bytes of memory, which the file does not hold: "
            f"at most {MAX_CONSTANTS:,} are allowed"
        )
    return order


@dataclass(frozen=True, slots=True)
class _Once:
    """Operators on files: `among` is what runs only when their argument number `argument` is fed."""

    ops: frozenset[str]
    argument: int
    among: Reached
    fed: FedTensors


class _Check:
    """Judges nodes one by one."""

    def __init__(self, walk: GraphWalk, order: Sequence[str], served: Served) -> None:
        self._functions = walk.functions
        self._inside: dict[str | None, Mapping[str, Any]] = {None: walk.nodes}
        self._allowed = ALLOWED | TRAINING if served.training else ALLOWED
        self._registered = configured_tensorflow().raw_ops.__dict__
        self._training = served.training
        self._filling = served.filling
        self._scoring = served.scoring
        kinds = (
            (RESTORES, 0, served.restoring, (served.scoring, served.filling), served.variables),
            (TEXT_TABLES, 1, served.filling, (served.scoring, served.restoring), served.assets),
        )
        self._once = []
        for ops, argument, among, others, fed in kinds:
            # what also runs at another time is not fed then
            alone = Reached(
                among.nodes.difference(*(o.nodes for o in others)),
                among.functions.difference(*(o.functions for o in others)),
            )
            tensors = FedTensors(walk, among, [f for f in order if f in among.functions], fed)
            self._once.append(_Once(ops, argument, alone, tensors))

    def node(self, node: Any, scope: str | None) -> int:
        """Refuse the node, or give the bytes by which it grows in memory beyond what the file holds of it.

        `scope`: the function in which it stands, None for the main graph.
        """
        op = node.op
        if op not in self._allowed and op not in self._functions:
            self._check_once(node, scope)
        if unknown := [name for name in named_functions(node) if name not in self._functions]:
            raise UnsafeModelError(
                f"node {node.name!r} in {self._where(node, scope)} calls the function {unknown[0]!r}, "
                "which the graph does not have: export the model again"
            )
        if op == "Const":
            return _check_constant(node, self._where(node, scope))
        if excess := _excess(node):
            raise UnsafeModelError(
                f"operator {op} (node {node.name!r} in {self._where(node, scope)}) {excess}, for which its "
                "kernel ends the process, or takes too long: export the model again"
            )
        if op in _IMPORTS and self._scoring.holds(node.name, scope):
            raise UnsafeModelError(
                f"operator {op} (node {node.name!r} in {self._where(node, scope)}) replaces all of a table "
                "in each call, and ends the process for some shapes: fill the table by an initialiser"
            )
        if not self._training and nests(node, self._nodes(scope)):
            raise UnsafeModelError(
                f"operator {op} (node {node.name!r} in {self._where(node, scope)}) puts a list, map or "
                "optional into another, which ends the process where that is done many times over: keep them "
                "side by side"
            )
        self.results(node.input, scope)
        if op == "SerializeTensor" and node.attr["T"].type in HANDLE_DTYPES:
            where = self._where(node, scope)
            raise UnsafeModelError(
                f"node {node.name!r} in {where} writes out a handle to something in memory"
            )
        return 0

    def results(self, read: Iterable[str], scope: str | None) -> None:
        """Refuse to read of an operator what its kernel may not have written."""
        for reference in read:
            name, _, result = reference.partition(":")
            apart = result.startswith("reserve_space") or (result.isdecimal() and int(result) >= _WRITTEN)
            if not apart or self._training:
                continue
            node = self._nodes(scope).get(name)
            if node is not None and node.op in _NORMS:
                raise UnsafeModelError(
                    f"{reference!r} in {self._where(node, scope)} is what {node.op} keeps for gradients, and "
                    "nothing may have written it: export the model for inference, without what reads it"
                )

    def _check_once(self, node: Any, scope: str | None) -> None:
        where = self._where(node, scope)
        for kind in self._once:
            if node.op in kind.ops and kind.among.holds(node.name, scope):
                if len(node.input) > kind.argument and kind.fed.holds(scope, node.input[kind.argument]):
                    if node.op in RESTORES:
                        self._check_parts(node, scope)
                    return
                raise UnsafeModelError(
                    f"operator {node.op} (node {node.name!r} in {where}) reads a file of its own "
                    "choice, and not "
                    "one of the model's own: save the file as an asset, the variables by the model's saver"
                )
        why = reason(node.op, self._registered)
        raise UnsafeModelError(f"operator {node.op} (node {node.name!r} in {where}) {why}")

    def _check_parts(self, node: Any, scope: str | None) -> None:
        wanted = node_of(node.input[_PARTS]) if len(node.input) > _PARTS else ""
        if not possible_parts(self._nodes(scope).get(wanted)):
            raise UnsafeModelError(
                f"operator {node.op} (node {node.name!r} in {self._where(node, scope)}) restores parts of "
                "values that there cannot be: save the model again"
            )

    def _nodes(self, scope: str | None) -> Mapping[str, Any]:
        if scope not in self._inside:
            self._inside[scope] = {n.name: n for n in self._functions[scope].node_def}
        return self._inside[scope]

    def _where(self, node: Any, scope: str | None) -> str:
        if scope is not None:
            return f"function {scope!r}" + (" of an initialiser" if scope in self._filling.functions else "")
        filling = node.name in self._filling.nodes and node.name not in self._scoring.nodes
        return "an initialiser" if filling else "the graph"


def _excess(node: Any) -> str:
    """What an operator's attributes ask for that no training produces; "" for nothing."""
    for name, most in _MOST.items():
        if name in node.attr and node.attr[name].i > most:
            return f"has {name} = {node.attr[name].i:,}, and {most:,} is the most"
    for name in _STEPS:
        if name in node.attr and any(step < 1 for step in node.attr[name].list.i):
            return f"has {name} below 1"
    if node.op == "ResourceGather" and "batch_dims" in node.attr and node.attr["batch_dims"].i:
        return f"has batch_dims = {node.attr['batch_dims'].i}, and 0 is taken"
    if node.op == "UnicodeDecodeWithOffsets" and node.attr["Tsplits"].type == INT:
        return "has row splits of int32, and int64 is taken"
    if node.op == "RaggedCross":
        wanted = node.attr["out_row_splits_type"].type
        if {wanted} < {*node.attr["ragged_splits_types"].list.type, wanted}:
            return "has row splits of several types"
    return ""


def _check_names(graph_def: Any) -> None:
    registered = configured_tensorflow().raw_ops.__dict__
    for name, count in Counter(f.signature.name for f in graph_def.library.function).items():
        if count > 1 or name in registered or name in ALLOWED:
            raise UnsafeModelError(f"the library function {name!r} hides another operator or function")
    for name, count in Counter(n.name for n in graph_def.node).items():
        if count > 1:
            raise UnsafeModelError(f"two nodes are named {name!r}, and only one of them would be seen")


def _check_concrete(graph_def: Any) -> None:
    """Refuse functions that only their callers complete: of these no check sees what is run."""
    for function in graph_def.library.function:
        signature = function.signature
        for arg in (*signature.input_arg, *signature.output_arg):
            if arg.number_attr or arg.type_attr or arg.type_list_attr:
                raise UnsafeModelError(
                    f"the argument {arg.name!r} of function {signature.name!r} is of a type or number "
                    f"that its caller chooses: {_CONCRETE}"
                )
        names = Counter([*(a.name for a in signature.input_arg), *(n.name for n in function.node_def)])
        for name, count in names.items():
            if count > 1:
                raise UnsafeModelError(
                    f"function {signature.name!r} has {name!r} twice, and only one of them would be seen"
                )
    for node in (*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)):
        if _left_open(node):
            raise UnsafeModelError(
                f"node {node.name!r} has an attribute that its caller chooses: {_CONCRETE}"
            )


def _left_open(holder: Any) -> bool:
    for attr in holder.attr.values():
        kind = attr.WhichOneof("value")
        inner = (attr.func,) if kind == "func" else attr.list.func if kind == "list" else ()
        if kind == "placeholder" or any(map(_left_open, inner)):
            return True
    return False


def _check_constant(node: Any, where: str) -> int:
    if node.attr["dtype"].type in HANDLE_DTYPES:
        raise UnsafeModelError(f"node {node.name!r} in {where} is a constant handle to something in memory")
    tensor = node.attr["value"].tensor
    if tensor.dtype != node.attr["dtype"].type:  # a session that folds it would end the process
        raise UnsafeModelError(
            f"the constant {node.name!r} in {where} holds a value of another type than it says "
            f"(DataType {tensor.dtype} and not {node.attr['dtype'].type}): export the model again"
        )
    count = 1
    for d in tensor.tensor_shape.dim:
        count *= max(d.size, 0)
    if count < 1024:
        return 0
    dtype = configured_tensorflow().dtypes.as_dtype(tensor.dtype)
    width = dtype.size or 24  # a text, of which the size says 0, is an object of 24 bytes
    return max(count * width - tensor.ByteSize(), 0)


def parsed(message: Any, data: bytes, what: str) -> Any:
    """Fill the protobuf `message` from `data`. Raises `LoadError` where `data` is nothing of the kind."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from google.protobuf.unknown_fields import UnknownFieldSet  # noqa: PLC0415

    try:
        message.ParseFromString(data)
    except DecodeError as e:
        raise LoadError(f"the {len(data)} bytes are no {what}, or are cut short: {e}") from None
    if len(UnknownFieldSet(message)):
        raise LoadError(f"the {len(data)} bytes are no {what}: they hold fields that it does not have")
    return message
