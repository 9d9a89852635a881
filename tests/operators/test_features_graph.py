"""What the graphs of the feature jobs must have: uids, and a task for each Python operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyflink.java_gateway import get_gateway

from jobs import backfill, features
from jobs.settings.features import BackfillSettings, FeatureSettings
from jobs.settings.run import settings_of
from operators.environment import FlinkSpec, make_environment
from tests import feature_enriched
from tests.feature_streams import declare, events, write_history
from udfs.io.s3 import S3Options

LIB = Path(__file__).resolve().parents[2] / ".cache" / "jars" / "lib"
PYTHON = "org.apache.flink.streaming.api.operators.python."
STREAM = {"decode", "views-signals", "views-spend_v1", "redis-features"}
BATCH = {"read-signals", "views-signals", "views-spend_v1", "redis-features"}
ENRICHED = {"views-signals", "views-signals-enriched", "views-spend_v1-enriched"}


def flags(folder: Path, enriched: bool) -> list[str]:
    file = folder / "views.py"
    if enriched:
        declared = feature_enriched.declare(file, "on ", str(folder / "past"))
        feature_enriched.write_histories(declared, feature_enriched.streams(400, 0, 10), S3Options())
    else:
        file = folder / "views.toml"
        write_history(events(10, 1_700_000_000_000, 10), str(folder / "events"), S3Options())
        declare(file, topic="signals", history=str(folder / "events"))
    stores = ["--redis", '{"url": "redis://127.0.0.1:1"}', "--history.url", str(folder / "history")]
    return ["--declarations", str(file), *stores]


def over(stream: str, enriched: bool) -> Callable[[Path], tuple[Any, Any]]:
    def made(folder: Path) -> tuple[Any, Any]:
        given = flags(folder, enriched)
        if stream == "history":
            return backfill, settings_of(BackfillSettings, given)
        kafka = ["--kafka.bootstrap", "127.0.0.1:1", "--kafka.check", "false"]
        of = {"kafka": kafka, "folder": ["--folder.root", str(folder)]}
        return features, settings_of(FeatureSettings, [*given, "--parallelism", "2", *of[stream]])

    return made


STREAMS = ("kafka", "folder", "history")


@pytest.fixture(scope="module", params=[(s, e) for e in (False, True) for s in STREAMS], ids=str)
def graph(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuple[str, bool], Any]:
    job, chosen = over(*request.param)(tmp_path_factory.mktemp("root"))
    spec = FlinkSpec(jars=sorted(LIB.glob("*.jar")), parallelism=2, options=chosen.own_options)
    env = make_environment(spec)
    job.build(env, chosen)
    return request.param, env._generate_stream_graph()


def test_every_operator_has_a_uid(graph: tuple[tuple[str, bool], Any]) -> None:
    (stream, _), made = graph
    found = [(n.getOperatorName(), n.getTransformationUID()) for n in made.getStreamNodes().toArray()]
    assert len(found) > 15
    if stream != "history":  # a batch job has no savepoints
        assert [name for name, uid in found if not uid] == []
        assert len({uid for _, uid in found}) == len(found)


def test_no_two_python_operators_share_a_task(graph: tuple[tuple[str, bool], Any]) -> None:
    (stream, enriched), made = graph
    loader = get_gateway().jvm.Thread.currentThread().getContextClassLoader()
    python = {
        node.getId()
        for node in made.getStreamNodes().toArray()
        if PYTHON in node.getOperatorFactory().getStreamOperatorClass(loader).getName()
    }
    named = {n.getTransformationUID() for n in made.getStreamNodes().toArray() if n.getId() in python}
    wanted = BATCH if stream == "history" else STREAM
    if enriched:
        wanted = wanted - {"views-spend_v1"} | ENRICHED
        wanted |= {"read-reference-zips"} if stream == "history" else {"references-signals"}
    assert named >= wanted
    chained = [
        (edge.getSourceId(), edge.getTargetId())
        for node in made.getStreamNodes().toArray()
        for edge in node.getOutEdges()
        if node.getId() in python and edge.getTargetId() in python and _is_chained(edge, made)
    ]
    assert chained == []


def test_references_come_from_one_instance_that_always_counts(graph: tuple[tuple[str, bool], Any]) -> None:
    """What makes watermarks of their rows runs as often as what decodes them: another instance would hear
    nothing, and hold everybody back."""
    (stream, enriched), made = graph
    nodes = made.getStreamNodes().toArray()
    decoding = [node for node in nodes if node.getTransformationUID() == "references-signals"]
    assert bool(decoding) == (enriched and stream != "history")
    for node in decoding:
        alone = [one.getOperatorName() for one in _after(node, made)]
        assert node.getParallelism() == 1
        assert sum("watermarks of" in name for name in alone) == 2, alone
    idle = {(n.getParallelism(), _may_be_idle(n)) for n in nodes if "watermarks of" in n.getOperatorName()}
    events = set() if stream == "history" else {(2, True)}
    assert idle == (events | {(1, False)} if decoding else events), "an idle source is not waited for"


def _may_be_idle(node: Any) -> bool:
    """Of an operator that makes watermarks."""
    return bool(_private(_private(node.getOperatorFactory(), "watermarkStrategy"), "mayBeIdle"))


def _private(of: Any, name: str) -> Any:
    field = of.getClass().getDeclaredField(name)
    field.setAccessible(True)
    return field.get(of)


def _after(node: Any, graph: Any) -> list[Any]:
    """What follows a node, until something runs in several instances."""
    found, rest = [], [node]
    while rest:
        for edge in rest.pop().getOutEdges():
            following = graph.getStreamNode(edge.getTargetId())
            if following.getParallelism() == 1:
                found.append(following)
                rest.append(following)
    return found


def _is_chained(edge: Any, graph: Any) -> bool:
    generator = get_gateway().jvm.org.apache.flink.streaming.api.graph.StreamingJobGraphGenerator
    return bool(generator.isChainable(edge, graph))
