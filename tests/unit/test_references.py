"""Secrets by reference: they are looked up where they are used, and stand nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import cloudpickle
import pytest

from jobs.settings.assemble import AssembleSettings
from jobs.settings.experiment import ExperimentSettings
from jobs.settings.outcomes import OutcomesSettings
from jobs.settings.run import settings_of
from jobs.settings.serve import ServeSettings
from jobs.settings.speculate import SpeculateSettings
from jobs.settings.track import TrackSettings
from jobs.settings.watch import WatchSettings
from operators.ensemble.collector import Collector
from operators.ensemble.executor import ExecutorOperator
from operators.ensemble.router import RouterOperator
from operators.features.assemble_requests import AssembleRequests
from operators.kafka import KafkaConnection
from operators.lifecycle.control_experiments import ControlExperiments
from operators.lifecycle.count_quality import CountQuality
from operators.lifecycle.count_windows import CountWindows
from operators.lifecycle.join_outcomes import JoinOutcomes
from operators.lifecycle.judge_quality import JudgeQuality
from operators.lifecycle.judge_windows import JudgeWindows
from operators.lifecycle.read_outcomes import ReadOutcomes
from operators.lifecycle.track_models import TrackModels
from operators.serving.scorer import Scorer
from schemas.errors import SettingsError
from tests.flink_fakes import FOUR_GROUPS
from udfs.enrichment.assembly_spec import AssemblySpec
from udfs.io.references import for_kafka, resolved
from udfs.io.s3 import S3Options, s3_client
from udfs.lifecycle.repository.tracking import Told
from udfs.models.model_store import StoreSpec
from udfs.stores.online.redis_connection import pool
from udfs.stores.registry.database import Database

PLANTED = "planted-secret"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PLANTED", f"{PLANTED}-by-variable")
    path = tmp_path / "secret"
    path.write_text(f"{PLANTED}-by-file\n")
    return path


def test_text_is_looked_up_in_the_environment_and_in_files(planted: Path) -> None:
    assert resolved("plain ${other:x} $PLANTED") == "plain ${other:x} $PLANTED"
    assert (
        resolved(f"a ${{env:PLANTED}} ${{file:{planted}}}!") == f"a {PLANTED}-by-variable {PLANTED}-by-file!"
    )


@pytest.mark.parametrize(
    ("text", "says"), [("x${env:NO_SUCH}y", "no variable NO_SUCH"), ("${file:/no/such}", "/no/such")]
)
def test_what_is_not_there_is_named_and_nothing_else_is(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        resolved(text)


def test_kafkas_own_clients_look_up_theirs(planted: Path) -> None:
    assert for_kafka({"a": "b"}, "p") == {"a": "b"}
    made = for_kafka({"u": "${env:PLANTED}", "p": f"x${{file:{planted}}}"}, "p")
    assert made["u"] == "${env:PLANTED}" and made["p"] == f"x${{directory:{planted.parent}:secret}}"
    assert made["config.providers"] == "env,directory"
    connection = KafkaConnection("b", {"sasl.password": "${env:PLANTED}"})
    assert connection.here() == {"sasl.password": f"{PLANTED}-by-variable"}
    assert PLANTED not in str(connection.java_client())


def test_clients_get_the_values(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Session:
        def client(self, name: str, **options: Any) -> Any:
            seen.update(options)
            return type("Client", (), {"close": lambda self: None})()

    monkeypatch.setattr(boto3.session, "Session", Session)
    with s3_client(S3Options(access_key="${env:PLANTED}", secret_key=f"${{file:{planted}}}")):
        assert seen["aws_access_key_id"] == f"{PLANTED}-by-variable"
        assert seen["aws_secret_access_key"] == f"{PLANTED}-by-file"
    settings = settings_of(
        AssembleSettings, ["--folder.root", "x", "--redis", '{"password": "${env:PLANTED}"}']
    )
    assert pool(settings.redis).connection_kwargs["password"] == f"{PLANTED}-by-variable"
    known = Database("postgresql+psycopg://u:${env:PLANTED}@h/d")
    assert known._url.password == f"{PLANTED}-by-variable" and PLANTED not in str(known)


def _serving(arguments: list[str]) -> Iterator[object]:
    settings = settings_of(ServeSettings, arguments)
    yield Scorer(settings.scoring(StoreSpec("s3://b/p", settings.s3)), None)
    yield Scorer(settings.scoring(StoreSpec("s3://b/p", settings.s3)), FOUR_GROUPS, settings.shared())


def _speculating(arguments: list[str]) -> Iterator[object]:
    settings = settings_of(SpeculateSettings, arguments)
    store = StoreSpec("s3://b/p", settings.s3)
    yield RouterOperator(settings.router(), FOUR_GROUPS)
    yield Collector(settings.collector())
    for name in settings.executors.model_types:
        yield ExecutorOperator(settings.executor(name, store), FOUR_GROUPS)


def _watching(arguments: list[str]) -> Iterator[object]:
    settings = settings_of(WatchSettings, arguments)
    yield JudgeQuality(settings.quality())
    for of in settings.streams:
        yield CountWindows(settings.counting(of, None))
        yield JudgeWindows(settings.judging(of))


def _tracking(arguments: list[str]) -> Iterator[object]:
    settings = settings_of(TrackSettings, [*arguments, "--registry", DATABASE])
    yield from (TrackModels(settings.tracking(), kind) for kind in Told)


def _joining(arguments: list[str]) -> Iterator[object]:
    types = '{"t": {"score": "y"}}'
    spec = settings_of(OutcomesSettings, [*arguments, "--data-types", types]).join()
    yield from (ReadOutcomes("results", spec, FOUR_GROUPS), ReadOutcomes("outcomes", spec, FOUR_GROUPS))
    yield from (JoinOutcomes(spec, FOUR_GROUPS), CountQuality(spec, FOUR_GROUPS))


def _experimenting(arguments: list[str]) -> Iterator[object]:
    own = [*arguments, "--registry", DATABASE]
    settings = settings_of(ExperimentSettings, own)
    yield ControlExperiments(5000, settings.registry, settings.signing.signs(), None)


def _assembling(arguments: list[str]) -> Iterator[object]:
    redis = '{"url": "redis://u:${env:PLANTED}@h/0", "password": "${env:PLANTED}"}'
    settings = settings_of(AssembleSettings, [*arguments, "--registry", DATABASE, "--redis", redis])
    yield AssembleRequests(AssemblySpec(settings.registry, settings.redis, {}, ()))


DATABASE = "postgresql+psycopg://u:${env:PLANTED}@h/d"
JOBS = (_serving, _speculating, _watching, _tracking, _joining, _experimenting, _assembling)


@pytest.mark.parametrize("operators", JOBS)
@pytest.mark.parametrize("by_environment", [False, True])
def test_pickled_operators_do_not_hold_them(
    operators: Callable[[list[str]], Iterator[object]],
    by_environment: bool,
    planted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of each job, whether flags or the environment refer to them, and whether to a variable or a file. Of
    the operators that are made of a database or of Redis, the reference is there instead."""
    reference = f"${{env:PLANTED}} ${{file:{planted}}}"
    said = {
        "--s3": json.dumps({"secret_key": reference, "access_key": reference}),
        "--kafka.client": json.dumps({"sasl.jaas.config": f"password={reference}"}),
        "--flink": json.dumps({"s3.secret-key": reference}),
    }
    if operators is _experimenting:
        del said["--s3"]
    arguments = ["--kafka.bootstrap", "b:1"]
    if operators in (_serving, _speculating):
        arguments += ["--kafka.records", '{"t": "t"}']
    if by_environment:
        for flag, value in said.items():
            name = flag.removeprefix("--").replace(".", "__").replace("-", "_")
            monkeypatch.setenv(f"MILLRACE_{name.upper()}", value)
    else:
        arguments += [part for pair in said.items() for part in pair]
    pickles = [cloudpickle.dumps(operator) for operator in operators(arguments)]
    assert pickles and not any(PLANTED.encode() in pickled for pickled in pickles)
    if operators in (_tracking, _experimenting, _assembling, _serving):
        assert any(b"${env:PLANTED}" in pickled for pickled in pickles)


def test_what_is_written_out_would_be_found() -> None:
    """In the pickle, where a reference is not."""
    options = S3Options(secret_key=f"{PLANTED}-written-out")
    spec = settings_of(ServeSettings, ["--folder.root", "x"]).scoring(StoreSpec("s3://b/p", options))
    spec = replace(spec, default_load=replace(spec.default_load, s3=options))
    assert PLANTED.encode() in cloudpickle.dumps(Scorer(spec, None))


def test_reprs_do_not_show_what_is_written_out() -> None:
    arguments = [
        "--kafka.bootstrap", "b:1", "--kafka.records", '{"t": "t"}',
        "--kafka.client", f'{{"sasl.jaas.config": "{PLANTED}"}}',
        "--s3", f'{{"secret_key": "{PLANTED}"}}', "--flink", f'{{"s3.secret-key": "{PLANTED}"}}',
    ]  # fmt: skip
    settings = settings_of(ServeSettings, arguments)
    shown = repr(settings) + str(settings) + repr(settings.scoring(StoreSpec("s3://b/p", settings.s3)))
    assert PLANTED not in shown + repr(KafkaConnection("b", settings.kafka.client if settings.kafka else {}))
    other = settings_of(
        AssembleSettings,
        ["--folder.root", "x", "--registry", f"postgresql+psycopg://u:{PLANTED}@h/d",
         "--redis", f'{{"url": "redis://u:{PLANTED}@h/0", "password": "{PLANTED}"}}'],
    )  # fmt: skip
    assert PLANTED not in repr(other)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kafka.bootstrap", "b:1", "--kafka.records", '{"t": "t"}', "--kafka.client", PLANTED],
        ["--folder.root", "x", "--s3", f'{{"secret_key": ["{PLANTED}"]}}'],
        ["--folder.root", "x", "--s3", f'{{"secret_key": "{PLANTED}", "timeout_s": "{PLANTED}"}}'],
    ],
)
def test_errors_about_settings_do_not_repeat_them(arguments: list[str]) -> None:
    with pytest.raises(Exception) as raised:
        settings_of(ServeSettings, arguments)
    assert isinstance(raised.value, SettingsError) and PLANTED not in str(raised.value)
