"""What the jobs' graphs must have: uids, so that savepoints fit the next version, and tasks of their own."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyflink.java_gateway import get_gateway

from jobs import experiment, outcomes, serve, serve_partitioned, speculate, track, watch
from jobs.settings.experiment import ExperimentSettings
from jobs.settings.outcomes import OutcomesSettings
from jobs.settings.run import RunSettings, settings_of
from jobs.settings.serve import ServeSettings
from jobs.settings.speculate import SpeculateSettings
from jobs.settings.track import TrackSettings
from jobs.settings.watch import WatchSettings
from operators.environment import FlinkSpec, make_environment

LIB = Path(__file__).resolve().parents[2] / ".cache" / "jars" / "lib"
JARS = sorted(jar for kind in ("flink", "millrace", "hadoop") for jar in LIB.glob(f"{kind}-*.jar"))
KINDS: dict[ModuleType, type[RunSettings]] = {
    experiment: ExperimentSettings,
    outcomes: OutcomesSettings,
    serve: ServeSettings,
    serve_partitioned: ServeSettings,
    speculate: SpeculateSettings,
    track: TrackSettings,
    watch: WatchSettings,
}
OWN = {
    experiment: {"read-models", "control"},
    outcomes: {"read-results", "read-outcomes", "join", "quality"},
    speculate: {"read-models", "route", "execute-pmml", "collect"},
    track: {"track-model-events", "track-model-stats", "track-models"},
    watch: {"count-records", "judge-results", "judge-quality"},
}
GOOD = '{"wine": {"quality": {"baseline": 0.1}}}'
MORE = {
    watch: ["--watch", '["records", "results", "quality"]', "--data-types", GOOD],
    outcomes: ["--data-types", '{"wine": {"score": "p"}}', "--store.url", "store"],
}
PYTHON = "org.apache.flink.streaming.api.operators.python."


def settings(job: ModuleType, streams: str, folder: Path, *more: str) -> RunSettings:
    more = (*MORE.get(job, ()), *more)
    if streams == "folder":
        return settings_of(KINDS[job], ["--folder.root", str(folder), *more])
    without = (experiment, outcomes, track)
    topics = ["--kafka.records", json.dumps({"a": "wine", "b": "tea"})] if job not in without else []
    kafka = ["--kafka.bootstrap", "localhost:1", "--kafka.check", "false"]
    return settings_of(KINDS[job], [*kafka, *topics, *more])


def stream_graph(job: ModuleType, chosen: RunSettings) -> Any:
    """As `execute` makes it: before that, Python operators may still be put together."""
    env = make_environment(FlinkSpec(jars=JARS))
    job.build(env, chosen)
    return env._generate_stream_graph()


@pytest.fixture(
    scope="module",
    params=[(job, streams) for job in KINDS for streams in ("kafka", "folder")],
    ids=lambda p: f"{p[0].__name__}-{p[1]}",
)
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    job, streams = request.param
    return stream_graph(job, settings(job, streams, tmp_path_factory.mktemp("root")))


@pytest.fixture
def job(graph: Any, request: pytest.FixtureRequest) -> ModuleType:
    return request.node.callspec.params["graph"][0]


def test_every_operator_has_a_uid(graph: Any) -> None:
    found = [(n.getOperatorName(), n.getTransformationUID()) for n in graph.getStreamNodes().toArray()]
    assert len(found) > 8
    assert [name for name, uid in found if not uid] == []
    assert len({uid for _, uid in found}) == len(found)


def test_no_two_python_operators_share_a_task(graph: Any, job: ModuleType) -> None:
    loader = get_gateway().jvm.Thread.currentThread().getContextClassLoader()
    python = {
        node.getTransformationUID()
        for node in graph.getStreamNodes().toArray()
        if PYTHON in node.getOperatorFactory().getStreamOperatorClass(loader).getName()
    }
    assert python >= OWN.get(job, {"read-models", "score"})
    tasks = [
        {pair.getUserDefinedOperatorUid() for pair in vertex.getOperatorIDs()}
        for vertex in graph.getJobGraph().getVerticesAsArray()
    ]
    assert python <= set().union(*tasks)
    assert [task for task in tasks if len(python & task) > 1] == []


def test_executors_get_slots_of_their_own_where_wanted(tmp_path: Path) -> None:
    chosen = settings(
        speculate, "folder", tmp_path, "--executors.slots", "apart", "--executors.parallelism", "3"
    )
    nodes = stream_graph(speculate, chosen).getStreamNodes().toArray()
    groups = {n.getTransformationUID(): (n.getSlotSharingGroup(), n.getParallelism()) for n in nodes}
    assert groups["execute-pmml"] == ("execute-pmml", 3)
    assert groups["execute-tensorflow"] == ("execute-tensorflow", 3)
    assert {groups[uid][0] for uid in ("route", "collect")} == {"default"}


def stored(types: dict[str, Any], folder: Path) -> dict[str, str]:
    """Uid -> what it does, of the job that stores predictions of `types` in Parquet."""
    given = ["--data-types", json.dumps(types), "--store.url", "store"]
    chosen = settings_of(OutcomesSettings, ["--folder.root", str(folder), *given])
    nodes = stream_graph(outcomes, chosen).getStreamNodes().toArray()
    return {n.getTransformationUID(): n.getOperatorDescription() or "" for n in nodes}


def test_a_table_keeps_its_state_beside_another(tmp_path: Path) -> None:
    wine, tea = {"wine": {"score": "p"}}, {"tea": {"score": "p"}}
    one, two = stored(wine, tmp_path), stored(tea | wine, tmp_path)
    writers = {
        uid for uid in one if uid.startswith("history-wine-") and ("writer" in uid or "compact" in uid)
    }
    assert len(writers) == 3
    assert writers <= set(two)


def test_a_line_of_history_is_split_once(tmp_path: Path) -> None:
    found = stored({"wine": {"score": "p"}}, tmp_path)
    splitting = {uid for uid, text in found.items() if "SPLIT" in text}
    assert splitting == {"history-wine-correlate", "history-wine-correlate-2"}
