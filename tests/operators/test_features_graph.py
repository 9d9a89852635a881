"""What the graphs of the feature jobs must have: uids, and a task for each Python operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyflink.java_gateway import get_gateway

from jobs import backfill, features
from jobs.feature_settings import BackfillSettings, FeatureSettings
from jobs.run_settings import settings_of
from operators.environment import FlinkSpec, make_environment
from tests.feature_streams import declare, events, write_history
from udfs.s3 import S3Options

LIB = Path(__file__).resolve().parents[2] / ".cache" / "jars" / "lib"
PYTHON = "org.apache.flink.streaming.api.operators.python."
STREAM = {"decode", "views-signals", "views-spend_v1", "redis-features"}
BATCH = {"read-signals", "views-signals", "views-spend_v1", "redis-features"}


def flags(folder: Path) -> list[str]:
    write_history(events(10, 1_700_000_000_000, 10), str(folder / "events"), S3Options())
    declare(folder / "views.toml", topic="signals", history=str(folder / "events"))
    stores = ["--redis", '{"url": "redis://127.0.0.1:1"}', "--history.url", str(folder / "history")]
    return ["--declarations", str(folder / "views.toml"), *stores]


def over(stream: str) -> Callable[[Path], tuple[Any, Any]]:
    def made(folder: Path) -> tuple[Any, Any]:
        if stream == "history":
            return backfill, settings_of(BackfillSettings, flags(folder))
        of = {"kafka": ["--kafka.bootstrap", "127.0.0.1:1"], "folder": ["--folder.root", str(folder)]}
        return features, settings_of(FeatureSettings, [*flags(folder), "--parallelism", "2", *of[stream]])

    return made


@pytest.fixture(scope="module", params=["kafka", "folder", "history"])
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    job, chosen = over(request.param)(tmp_path_factory.mktemp("root"))
    spec = FlinkSpec(jars=sorted(LIB.glob("*.jar")), parallelism=2, options=chosen.own_options)
    env, tables = make_environment(spec)
    job.build(env, tables, chosen)
    return request.param, env._generate_stream_graph()


def test_every_operator_has_a_uid(graph: tuple[str, Any]) -> None:
    stream, made = graph
    found = [(n.getOperatorName(), n.getTransformationUID()) for n in made.getStreamNodes().toArray()]
    assert len(found) > 15
    if stream != "history":  # a batch job has no savepoints
        assert [name for name, uid in found if not uid] == []
        assert len({uid for _, uid in found}) == len(found)


def test_no_two_python_operators_share_a_task(graph: tuple[str, Any]) -> None:
    stream, made = graph
    loader = get_gateway().jvm.Thread.currentThread().getContextClassLoader()
    python = {
        node.getId()
        for node in made.getStreamNodes().toArray()
        if PYTHON in node.getOperatorFactory().getStreamOperatorClass(loader).getName()
    }
    named = {n.getTransformationUID() for n in made.getStreamNodes().toArray() if n.getId() in python}
    assert named >= (BATCH if stream == "history" else STREAM)
    chained = [
        (edge.getSourceId(), edge.getTargetId())
        for node in made.getStreamNodes().toArray()
        for edge in node.getOutEdges()
        if node.getId() in python and edge.getTargetId() in python and _is_chained(edge, made)
    ]
    assert chained == []


def _is_chained(edge: Any, graph: Any) -> bool:
    generator = get_gateway().jvm.org.apache.flink.streaming.api.graph.StreamingJobGraphGenerator
    return bool(generator.isChainable(edge, graph))
