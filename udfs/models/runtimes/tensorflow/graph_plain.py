"""A graph without what serving does not want of it: devices, wishes on how to run, prints."""

from __future__ import annotations

from typing import Any

from udfs.models.runtimes.tensorflow.graph_ops import PRINTS, WRITES_OVER
from udfs.models.runtimes.tensorflow.graph_walk import add_node, scopes

HANDLE_DTYPES = (20, 21)  # DT_RESOURCE, DT_VARIANT
_WISHES = ("config", "config_proto", "executor_type")
_KEPT = frozenset({"_output_shapes", "_lower_using_switch_merge"})  # what a shape is, and how branches run


def make_plain(graph_def: Any) -> None:
    """Change `graph_def` in place: main graph and functions compute the same and no longer ask for more.

    Dropped are devices, session configurations, attributes that TensorFlow leaves notes to itself in (to
    compile at each new batch size, to stand beside another node, to write over an input), and prints
    (`tf.print`, `tf.compat.v1.Print`). `FakeParam`, which hands out memory as it finds it for results that
    nobody reads, becomes zeros. What writes over its input (`WRITES_OVER`) is given a copy: others read that
    memory too, constants and variables among them, in this call and in all later ones.
    """
    for function in graph_def.library.function:
        _drop_wishes(function)
    for nodes, reference in scopes(graph_def):
        for node in list(nodes):
            _plain(node)
            if node.op in WRITES_OVER and node.input:
                name = f"{node.name}/written_over"
                add_node(nodes, name, "DeepCopy", node.input[:1], T=node.attr["T"].type)
                node.input[0] = reference.format(name, "y")


def _plain(node: Any) -> None:
    node.device = ""
    _drop_wishes(node)
    if node.op in PRINTS:
        _silence(node)
    elif node.op == "FakeParam" and node.attr["dtype"].type not in HANDLE_DTYPES:
        _zeros(node)


def _drop_wishes(holder: Any) -> None:
    for name in _WISHES:
        if name in holder.attr and holder.attr[name].s:
            holder.attr[name].s = b""
    for name in [n for n in holder.attr if n.startswith("_") and n not in _KEPT]:
        del holder.attr[name]


def _silence(node: Any) -> None:
    """`PrintV2` has no result and becomes nothing; `Print` hands its first input on."""
    controls = [i for i in node.input if i.startswith("^")]
    passed_on = [i for i in node.input if not i.startswith("^")][:1] if node.op == "Print" else []
    dtype = node.attr["T"].type if node.op == "Print" else 0
    del node.input[:]
    node.input.extend([*passed_on, *controls])
    node.attr.clear()
    node.op = "NoOp"
    if passed_on:
        node.op = "Identity"
        node.attr["T"].type = dtype


def _zeros(node: Any) -> None:
    dtype = node.attr["dtype"].type
    shape = node.attr["shape"].shape
    sizes = [] if shape.unknown_rank else [max(d.size, 0) for d in shape.dim]
    node.attr.clear()
    node.op = "Const"
    node.attr["dtype"].type = dtype
    tensor = node.attr["value"].tensor
    tensor.dtype = dtype
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_shape.SetInParent()
