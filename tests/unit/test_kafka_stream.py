"""The command's Kafka side, against the broker that librdkafka brings along for tests."""

from __future__ import annotations

import socket

import pytest
from typer.testing import CliRunner

from millrace import kafka_stream
from millrace.cli import app
from schemas.errors import SourceError
from udfs.models.descriptor import WITHDRAW, parse


@pytest.fixture
def broker(mock_broker):
    return mock_broker[0]


@pytest.fixture
def nobody():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        yield f"127.0.0.1:{unused.getsockname()[1]}"


def _send(broker, key, value):
    return kafka_stream.send(broker, "models", key=key, beside=b"a", value=value, client={}, timeout_s=10)


def test_what_is_sent_is_confirmed_and_read_to_the_end(broker):
    places = [_send(broker, key, value) for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))]
    assert len(set(places)) == 3
    found = list(kafka_stream.to_end(broker, "models", {}, 10))
    assert sorted(found) == [(b"a", b"1"), (b"a", b"3"), (b"b", b"2")]
    assert [value for key, value in found if key == b"a"] == [b"1", b"3"]


def test_following_goes_on_with_what_comes_later(broker):
    _send(broker, b"a", b"1")
    results = kafka_stream.follow(broker, "models", {}, 10, from_beginning=True)
    assert next(results) == b"1"
    _send(broker, b"a", b"2")
    assert next(results) == b"2"
    results.close()


def test_nobody_there_is_said_within_the_time_out(nobody):
    with pytest.raises(SourceError, match="not delivered to models"):
        kafka_stream.send(nobody, "models", key=b"a", beside=b"a", value=b"1", client={}, timeout_s=1)
    with pytest.raises(SourceError, match="could not be read"):
        list(kafka_stream.to_end(nobody, "models", {}, 1))


def test_a_setting_that_the_client_does_not_know_is_named(nobody):
    with pytest.raises(SourceError, match=r"no\.such\.setting"):
        unknown = {"no.such.setting": "1"}
        kafka_stream.send(nobody, "t", key=b"a", beside=b"a", value=b"1", client=unknown, timeout_s=1)


def test_the_command_unpublishes_through_kafka_under_a_key_of_its_own(broker):
    done = CliRunner().invoke(
        app, ["unpublish", "wine", "--name", "forest"], env={"MILLRACE_BOOTSTRAP": broker}
    )
    assert done.exit_code == 0, done.output
    ((key, value),) = kafka_stream.to_end(broker, "models", {}, 10)
    assert key == b"wine/WITHDRAW/forest"
    assert (parse(value).operation, parse(value).name) == (WITHDRAW, "forest")


def test_the_command_says_in_a_sentence_that_nobody_is_there(nobody):
    done = CliRunner().invoke(app, ["models", "--bootstrap", nobody, "--timeout", "1"])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert nobody in done.stderr
