"""GRAPH: several models in one, each reading columns of the record and of the models before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from numpy.typing import NDArray

from schemas.errors import DescriptorError, GraphError, InputsError, LoadError, ModelError
from schemas.tensors import Input, Output
from udfs.models.composite.combine import Combination
from udfs.models.composite.nodes import Graph, Node, OutputRef
from udfs.models.composite.record_columns import merged
from udfs.models.composite.runtime import GraphRuntime, NodeCall, Results
from udfs.models.composite.structure import ends
from udfs.models.composite.wiring import Answers, ValueSource, feed, source
from udfs.models.runtimes.base import PartialInput, Runtime, WantedSignature

LoadNode = Callable[[Node, WantedSignature], Runtime]


def load(graph: Graph, order: Sequence[Node], wanted: WantedSignature, load_node: LoadNode) -> GraphRuntime:
    """Load each node and wire it to those before it.

    `order`: the nodes as `graph_structure.in_order` gives them. `wanted.outputs` pairs references with names
    in the result; without, they are the outputs of the nodes that no other reads, as `node.output` where two
    have the same name. Raises the `ModelError` of the node that fails, which names it, and `GraphError` where
    shapes or dtypes do not fit. Then what was loaded is closed again.
    """
    with ExitStack() as held:
        loaded: dict[str, Runtime] = {}
        wires: list[tuple[Node, Input, dict[str, ValueSource]]] = []
        for node in order:
            with named(node):
                runtime, known = (
                    _combined(node, loaded)
                    if node.combine
                    else _model(node, graph.fields or wanted.fields, loaded, load_node)
                )
            held.callback(runtime.close)
            loaded[node.name] = runtime
            wires += [(node, i, known) for i in runtime.inputs]
        needs = [(_who(node, i), part) for node, i, known in wires for part in _of_record(i, known)]
        inputs, fields = merged(needs)
        feeds: dict[str, dict[str, Callable[[Answers], NDArray]]] = {name: {} for name in loaded}
        read: set[tuple[str, str]] = set()
        for node, i, known in wires:
            parts = [known.get(f) or fields[f] for f in i.fields]
            feeds[node.name][i.name] = feed(_who(node, i), i, parts)
            read |= {(p.node, p.output.name) for p in parts}
        calls = []
        for node in order:
            floats = [o.name for o in loaded[node.name].outputs if o.dtype.numpy.kind == "f"]
            passed_on = tuple(name for name in floats if (node.name, name) in read)
            calls.append(NodeCall(node.name, loaded[node.name], feeds[node.name], passed_on))
        return GraphRuntime(inputs, calls, _results(graph, wanted, loaded), held.pop_all())


@contextmanager
def named(node: Node) -> Iterator[None]:
    """Name the node in whatever refuses it; type and step stay. What was not foreseen is a `LoadError`."""
    try:
        yield
    except ModelError as e:
        e.args = (f"node {node.name!r}: {e}",)
        raise
    except Exception as e:
        raise LoadError(f"node {node.name!r}: {type(e).__name__}: {e}") from e


def wanted_outputs(outputs: Sequence[tuple[str, str]]) -> list[OutputRef]:
    """The references of a graph's wanted outputs. Raises `GraphError`."""
    try:
        return [OutputRef.read(name) for name, _ in outputs]
    except DescriptorError as e:
        raise GraphError(str(e)) from None


def _combined(node: Node, loaded: Mapping[str, Runtime]) -> tuple[Runtime, dict[str, ValueSource]]:
    known = {str(ref): source(ref, loaded) for ref in node.of}
    columns = [(ref, Output(ref, s.output.dtype, s.shape)) for ref, s in known.items()]
    return Combination(node.combine, columns, node.weights), known


def _model(
    node: Node, fields: Sequence[str], loaded: Mapping[str, Runtime], load_node: LoadNode
) -> tuple[Runtime, dict[str, ValueSource]]:
    known: dict[str, ValueSource] = {}
    inputs = []
    for i in node.inputs:
        given = {str(e): e for ref in i.of for e in source(ref, loaded).elements()}
        known |= given
        shape = i.shape
        if shape is None and len(given) == 1 and not i.fields:
            (only,) = given.values()
            shape = only.shape if len(only.shape) > 1 else None  # a matrix goes as one value
        inputs.append(PartialInput(i.name, i.dtype, shape, (*i.fields, *given), i.constant))
    try:
        return load_node(node, WantedSignature(inputs, node.outputs, fields, node.signature)), known
    except InputsError as e:
        if not known:
            raise
        wired = "; ".join(f"{i.name} from {', '.join(map(str, i.of))}" for i in node.inputs if i.of)
        raise GraphError(f"it does not take what it is wired to ({wired}): {e}") from e


def _of_record(i: Input, known: Mapping[str, ValueSource]) -> list[Input]:
    """What an input reads of the record: all of it as a row, or beside other nodes' outputs single fields."""
    fields = [f for f in i.fields if f not in known]
    return [i] if len(fields) == len(i.fields) else [Input(f, i.dtype, (), (f,)) for f in fields]


def _who(node: Node, i: Input) -> str:
    return f"{node.name}.{i.name}"


def _results(graph: Graph, wanted: WantedSignature, loaded: Mapping[str, Runtime]) -> Results:
    if wanted.outputs:
        refs = wanted_outputs(wanted.outputs)
        return [(alias, source(ref, loaded)) for ref, (_, alias) in zip(refs, wanted.outputs, strict=True)]
    found = [ValueSource(name, output) for name in ends(graph) for output in loaded[name].outputs]
    times = Counter(s.output.name for s in found)
    return [(s.output.name if times[s.output.name] == 1 else str(s), s) for s in found]
