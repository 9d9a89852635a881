"""Secrets by reference: they are looked up where they are used, and stand nowhere else."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import boto3
import cloudpickle
import pytest

from jobs.settings.assemble import AssembleSettings
from jobs.settings.run import settings_of
from jobs.settings.serve import ServeSettings
from operators.kafka import KafkaConnection
from operators.serving.scorer import Scorer
from schemas.errors import SettingsError
from udfs.enrichment.assembly_spec import AssemblySpec
from udfs.io.references import for_kafka, resolved
from udfs.io.s3 import S3Options, s3_client
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


def test_pickled_operators_and_settings_do_not_hold_them() -> None:
    arguments = [
        "--kafka.bootstrap", "b:1", "--kafka.records", '{"t": "t"}',
        "--kafka.client", '{"sasl.jaas.config": "password=${env:PLANTED}"}',
        "--s3", '{"secret_key": "${env:PLANTED}", "access_key": "${env:PLANTED}"}',
    ]  # fmt: skip
    settings = settings_of(ServeSettings, arguments)
    operator = cloudpickle.dumps(Scorer(settings.scoring(StoreSpec("s3://b/p", settings.s3)), None))
    assembly = AssemblySpec(
        "sqlite:///${env:PLANTED}", AssembleSettings.model_fields["redis"].default, {}, ()
    )
    for held in (operator, pickle.dumps(assembly), repr(settings).encode()):
        assert PLANTED.encode() not in held


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
