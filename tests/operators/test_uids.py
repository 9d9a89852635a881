"""Every operator that could hold state has a uid of its own, so that a savepoint fits the next version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from jobs import serve, serve_partitioned
from jobs.settings import ServeSettings, read_settings
from operators.environment import FlinkSpec, make_environment

JARS = sorted((Path(__file__).resolve().parents[2] / ".cache" / "jars" / "lib").glob("flink-*.jar"))


def settings(kind: str, folder: Path) -> ServeSettings:
    if kind == "folder":
        return read_settings(["--folder.root", str(folder)])
    topics = json.dumps({"a": "wine", "b": "tea"})
    return read_settings(["--kafka.bootstrap", "localhost:1", "--kafka.records", topics])


def uids(job: ModuleType, chosen: ServeSettings) -> Iterator[tuple[str, str | None]]:
    """Name and explicit uid of each operator that runs."""
    env, tables = make_environment(FlinkSpec(jars=JARS))
    job.build(env, tables, chosen)
    for node in env._j_stream_execution_environment.getStreamGraph().getStreamNodes().toArray():
        yield node.getOperatorName(), node.getTransformationUID()


@pytest.mark.parametrize("kind", ["kafka", "folder"])
@pytest.mark.parametrize("job", [serve, serve_partitioned])
def test_every_operator_has_a_uid(job: ModuleType, kind: str, tmp_path: Path) -> None:
    found = list(uids(job, settings(kind, tmp_path)))
    assert len(found) > 8
    assert [name for name, uid in found if not uid] == []
    assert len({uid for _, uid in found}) == len(found)
