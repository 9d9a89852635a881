"""Properties of Java clients for a reader that is none."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from schemas.errors import SettingsError
from udfs.io.kafka_client import reader_properties

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def test_what_java_calls_otherwise_is_renamed_and_the_rest_stays():
    client = {"fetch.max.wait.ms": "20", "isolation.level": "read_uncommitted", "max.poll.records": "10"}
    assert reader_properties(client) == {"fetch.wait.max.ms": "20", "isolation.level": "read_uncommitted"}


def test_a_login_is_read_from_its_java_form():
    jaas = f'{PLAIN} username="an\\"a" password="p;=w";'
    found = reader_properties(
        {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": jaas}
    )
    assert (found["sasl.username"], found["sasl.password"]) == ('an"a', "p;=w")
    Consumer({"group.id": "g", "bootstrap.servers": "127.0.0.1:1", **found}).close()  # all are known there


@pytest.mark.parametrize(
    ("client", "word"),
    [
        ({"sasl.jaas.config": "com.sun.security.auth.module.Krb5LoginModule required;"}, "Krb5LoginModule"),
        ({"ssl.truststore.location": "/t.jks"}, "JKS"),
        ({"ssl.keystore.location": "/k.jks", "ssl.keystore.type": "JKS"}, "JKS"),
    ],
)
def test_what_only_java_can_do_is_refused_and_the_way_out_is_named(client, word):
    with pytest.raises(SettingsError, match=f"{word}.*kafka.reader to flink"):
        reader_properties(client)


def test_stores_that_both_can_read_are_taken_over():
    pem = {"ssl.truststore.location": "/ca.pem", "ssl.truststore.type": "PEM"}
    assert reader_properties(pem) == {"ssl.ca.location": "/ca.pem"}
    pem = {"ssl.keystore.location": "/k.pem", "ssl.keystore.type": "PEM"}
    assert reader_properties(pem) == {"ssl.certificate.location": "/k.pem", "ssl.key.location": "/k.pem"}
    store = {"ssl.keystore.location": "/k.p12", "ssl.keystore.type": "PKCS12", "ssl.keystore.password": "x"}
    assert reader_properties(store) == {
        "ssl.keystore.location": "/k.p12", "ssl.keystore.password": "x",
    }  # fmt: skip
