"""Dead letters go back as the records that they were, each once, or it is said why they cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from millrace import replay_kafka
from millrace.cli import app
from millrace.replay_folder import ReplayFolders
from millrace.replaying import HEADER, Fate, NotWholeError, Wanted, identity_of, judged, original_of
from schemas.codecs.base import Code
from schemas.micro_batch import MicroBatch
from schemas.results.dead_letter import dead_letter
from schemas.results.records import RAW_LIMIT, DeadLetter, encode
from schemas.tensors import BadRecord

NOW = 1_790_000_000_000


def letter(payload: bytes | None, offset: int = 0, code: str = "missing_field", **more) -> DeadLetter:
    of = {"partitions": [0], "event_times": [NOW + offset], "keys": None, "headers": None} | more
    batch = MicroBatch(
        of.pop("data_type", "wine"),
        of.pop("source", "wines"),
        [payload or b""],
        offsets=[offset],
        null_payloads=frozenset() if payload is not None else frozenset({0}),
        **of,
    )
    return dead_letter(batch, BadRecord(0, code, "why"))


def nowhere(of: DeadLetter):
    raise NotWholeError(f"{identity_of(of)} is gone")


def fates(letters, wanted=None, sent_before=(), whole=nowhere):
    return list(judged(map(encode, letters), wanted or Wanted(), sent_before, whole))


headers = st.lists(st.tuples(st.text("abc", max_size=3), st.none() | st.binary(max_size=5)), max_size=3)


@given(st.none() | st.binary(max_size=50), st.none() | st.binary(max_size=9), headers)
def test_what_came_in_is_what_goes_back(payload, key, headers):
    (one,) = fates([letter(payload, keys=[key], headers=[tuple(headers)])])
    assert one.fate is Fate.SENT and one.original is not None
    original = one.original
    assert (original.payload, original.key, original.headers) == (payload, key, tuple(headers))
    assert (original.source, original.partition, original.event_time) == ("wines", 0, NOW)


def test_each_record_once_however_often_it_is_told():
    found = fates([letter(b"{}"), letter(b"{}"), letter(b"{}", 1)], sent_before={"wines/0/1"})
    assert [(identity_of(f.letter), f.fate) for f in found] == [
        ("wines/0/0", Fate.SENT),
        ("wines/0/1", Fate.SENT_BEFORE),
    ]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (Wanted(), 4),
        (Wanted(codes=("null", "deleted")), 2),
        (Wanted(data_types=("tea",)), 1),
        (Wanted(codes=("null",), data_types=("tea",)), 0),
        (Wanted(since=NOW + 1), 2),
        (Wanted(until=NOW + 1), 1),
        (Wanted(since=NOW, until=NOW + 2), 2),
    ],
)
def test_only_what_is_meant(wanted: Wanted, kept: int):
    letters = [
        letter(b"a"),
        letter(b"b", 1, "null"),
        letter(None, 2, Code.NULL),
        letter(b"d", 3, data_type="tea", event_times=[None]),
    ]
    assert len(fates(letters, wanted)) == kept


def test_what_was_cut_comes_from_its_topic_or_is_told():
    payload = b"x" * (RAW_LIMIT + 5)
    (one,) = fates([letter(payload)])
    assert one.fate is Fate.IMPOSSIBLE and one.original is None
    assert one.reason == "it holds 700,000 of 700,005 bytes; wines/0/0 is gone"
    whole = original_of(letter(b"whole"))
    (one,) = fates([letter(payload)], whole=lambda of: whole)
    assert one.original is whole and one.fate is Fate.SENT


@pytest.mark.parametrize(
    "lie",
    [
        {"partition": 1 << 31},
        {"partition": 1 << 40},
        {"partition": -1},
        {"offset": -1},
        {"offset": 1 << 63},
        {"source": "wi\0nes"},
        {"source": "wi\nnes"},
    ],
)
def test_a_place_that_no_broker_has_is_told(lie):
    (one,) = fates([replace(letter(b"{}"), **lie)])
    assert one.fate is Fate.IMPOSSIBLE and "where its record came from" in one.reason


@pytest.mark.parametrize("time", [1 << 63, -1, -62_135_596_800_000])
def test_a_time_that_no_broker_takes_is_told(time: int):
    """The client raised, and the run sent nothing more."""
    (one,) = fates([replace(letter(b"{}"), event_time=time)])
    assert one.fate is Fate.IMPOSSIBLE and one.reason == "it says a time that no record has"


def test_long_keys_and_headers_are_cut_and_told():
    long = (("h", b"v" * 800_000),)
    (one,) = fates([letter(b"payload", keys=[b"k" * 900_000], headers=[long])])
    assert one.reason.startswith("it holds the record's bytes, and not all of its key and headers")


def test_what_is_no_record_of_a_topic_is_told():
    of_view = DeadLetter("spend_v1", "buys", 0, 3, NOW, "late", "late", "e30=", 2, columns=True)
    keyless = letter(b"{}", 9, "null_key")
    placeless = DeadLetter("buys", "buys", -1, -1, NOW, "late", "late", "e30=", 2)
    wrong = DeadLetter("buys", "buys", 0, 4, NOW, "null", "no", "no base64!", 2)
    assert [f.reason.split(":")[0].split(",")[0] for f in fates([of_view, keyless, placeless, wrong])] == [
        "it is of one view",
        "it is of one view",
        "it does not say where its record came from",
        "it is not written as dead letters are",
    ]
    assert fates([]) == list(judged([b"no json", b"[]", b"{}"], Wanted(), (), nowhere)) == []


# a folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("dead-letters", "records/wine", "records/tea"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def put(folder: Path, *letters: DeadLetter) -> None:
    with (folder / "dead-letters" / "a").open("ab") as file:
        file.writelines(encode(one) + b"\n" for one in letters)


def run(*arguments: str) -> dict:
    done = CliRunner().invoke(app, ["replay-dead-letters", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def counts(said: dict) -> dict[str, int]:
    return {f"{row['data_type']} {row['code']} {row['fate']}": row["count"] for row in said["counts"]}


def lines(folder: Path) -> list[bytes]:
    return sorted(b for f in folder.glob("records/*/replayed-*") for b in f.read_bytes().splitlines())


def test_a_folder_s_records_appear_once_in_files_of_their_own(folder: Path):
    put(folder, letter(b"1", 0, source="wine/a"), letter(b"2", 1, source="wine/a"))
    put(folder, letter(b"3", 0, "null", source="tea/b", data_type="tea"), letter(b"4", 5, source="none"))
    of = str(folder / "dead-letters")
    assert counts(run("--from-folder", of, "--dry-run")) == {
        "wine missing_field sent": 2,
        "wine missing_field cannot be sent": 1,
        "tea null sent": 1,
    }
    assert lines(folder) == []
    first = run("--from-folder", of, "--code", "missing_field")
    assert counts(first) == {"wine missing_field sent": 2, "wine missing_field cannot be sent": 1}
    assert first["cannot_be_sent"][0]["record"] == "none/0/5"
    assert lines(folder) == [b"1", b"2"]
    again = run("--from-folder", of)
    assert counts(again)["wine missing_field sent before"] == 2 and counts(again)["tea null sent"] == 1
    assert lines(folder) == [b"1", b"2", b"3"]


def test_a_run_that_ended_between_its_two_files_has_sent_them(folder: Path):
    put(folder, letter(b"1", source="wine/a"))
    of = str(folder / "dead-letters")
    run("--from-folder", of)
    (noted,) = (folder / "records" / "wine").glob(".*.sent")
    tried = noted.rename(noted.with_suffix(".trying"))
    assert counts(run("--from-folder", of)) == {"wine missing_field sent before": 1}
    (folder / "records" / "wine" / tried.name.removeprefix(".").removesuffix(".trying")).unlink()
    assert counts(run("--from-folder", of)) == {"wine missing_field sent": 1}


@pytest.mark.parametrize(
    "source", ["../a.jsonl", "/etc/a.jsonl", "./a.jsonl", "beer/a.jsonl", "x" * 300 + "/a"]
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_letter_that_names_another_folder_is_told_and_holds_up_no_other(
    folder: Path, source: str, whole: bool
):
    lie = replace(letter(b"{}"), source=source, cut=[] if whole else ["raw"])
    put(folder, lie, letter(b'{"a":1}', source="wine/a\u2028b.jsonl"))
    before = {path for path in folder.parent.rglob("*") if path.is_file()}
    of = ("--from-folder", str(folder / "dead-letters"))
    for dry in (["--dry-run"], []):
        told = counts(run(*of, *dry))
        assert told == {"wine missing_field sent": 1, "wine missing_field cannot be sent": 1}
    assert lines(folder) == [b'{"a":1}']
    made = {path for path in folder.parent.rglob("*") if path.is_file()} - before
    assert {path.parent for path in made} == {folder / "records" / "wine"}
    assert counts(run(*of))["wine missing_field sent before"] == 1


@pytest.mark.parametrize("end", ["\r", "\x85", "\u2028"])
def test_what_ends_a_line_elsewhere_may_stand_in_the_name_of_a_file(folder: Path, end: str):
    of = ("--from-folder", str(folder / "dead-letters"))
    put(folder, letter(b'{"a":1}', source=f"wine/a{end}b.jsonl"))
    assert counts(run(*of)) == {"wine missing_field sent": 1}
    assert counts(run(*of)) == {"wine missing_field sent before": 1}


def test_a_line_that_was_cut_is_read_from_its_file(folder: Path):
    long = b"x" * (RAW_LIMIT + 1)
    (folder / "records" / "wine" / "a").write_bytes(b"first\n" + long + b"\n")
    folders = ReplayFolders(folder / "dead-letters", folder / "records")
    put(folder, letter(long, 1, source="wine/a"), letter(long, 0, source="wine/a"))
    put(folder, letter(long, 0, source="../wine/a"))
    found = list(judged(folders.lines(), Wanted(), (), folders.whole))
    assert [f.fate for f in found] == [Fate.SENT, Fate.IMPOSSIBLE, Fate.IMPOSSIBLE]
    assert found[0].original is not None and found[0].original.payload == long


# a topic, at librdkafka's own broker


def read(bootstrap: str, topic: str, producer: Producer) -> list:
    found = []
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "t", "enable.partition.eof": True})
    partitions = producer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    ends = 0
    while ends < len(partitions):
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            ends += 1
        else:
            found.append(message)
    consumer.close()
    return found


def test_records_go_back_to_their_partition_once(mock_broker):
    bootstrap, producer = mock_broker
    for topic in ("wines", "dead-letters", "dead-letters-replayed"):
        producer.list_topics(topic, 10)
    long = b"l" * (RAW_LIMIT + 1)
    producer.produce("wines", long, b"k", 2, headers=[("h", b"1"), ("h", None)])
    gone = letter(long, 7, partitions=[2])
    letters = [
        letter(b"a", 40, partitions=[1], keys=[b"key"], headers=[(("h", None), ("h", b""))]),
        letter(None, 41, partitions=[1], keys=[b"key"]),
        letter(long, 0, partitions=[2]),
        gone,
    ]
    for one in letters * 2:
        producer.produce("dead-letters", encode(one), partition=0)
    assert producer.flush(30) == 0
    of = ("--bootstrap", bootstrap, "--timeout", "10", "--to", "wines")
    expected = {
        "wine missing_field sent": 2,
        "wine deleted sent": 1,
        "wine missing_field cannot be sent": 1,
    }
    assert counts(run(*of, "--dry-run")) == expected
    assert len(read(bootstrap, "wines", producer)) == 1
    said = run(*of)
    assert counts(said) == expected
    assert said["cannot_be_sent"][0]["reason"].endswith("wines/2/7 is no longer in its topic")
    sent = [m for m in read(bootstrap, "wines", producer) if HEADER in dict(m.headers() or ())]
    assert sorted((m.partition(), m.key(), m.value() or b"") for m in sent) == [
        (1, b"key", b""),
        (1, b"key", b"a"),
        (2, b"k", long),
    ]
    by = {m.headers()[-1][1]: m for m in sent}
    assert by[b"wines/1/40"].headers() == [("h", None), ("h", b""), (HEADER, b"wines/1/40")]
    assert by[b"wines/1/40"].timestamp()[1] == NOW + 40 and by[b"wines/1/41"].value() is None
    again = counts(run(*of))
    assert again == {
        "wine missing_field sent before": 2,
        "wine deleted sent before": 1,
        "wine missing_field cannot be sent": 1,
    }
    assert len(read(bootstrap, "wines", producer)) == 4


def test_one_that_the_broker_does_not_take_holds_up_no_other(mock_broker, monkeypatch):
    bootstrap, producer = mock_broker
    for topic in ("wines", "dead-letters", "dead-letters-replayed"):
        producer.list_topics(topic, 10)
    monkeypatch.setattr(replay_kafka, "_LARGEST", 2000)
    for at, payload in enumerate((b"a", b"b" * 3000, b"c")):
        producer.produce("dead-letters", encode(letter(payload, at)), partition=0)
    assert producer.flush(30) == 0
    said = run("--bootstrap", bootstrap, "--timeout", "10", "--to", "wines")
    assert counts(said) == {"wine missing_field sent": 2, "wine missing_field cannot be sent": 1}
    assert "too large" in said["cannot_be_sent"][0]["reason"]
    assert sorted(m.value() for m in read(bootstrap, "wines", producer)) == [b"a", b"c"]


def test_a_letter_that_names_a_topic_which_nobody_allowed_goes_nowhere(mock_broker):
    """Whoever may write dead letters could write models."""
    bootstrap, producer = mock_broker
    for topic in ("wines", "models", "dead-letters", "dead-letters-replayed"):
        producer.list_topics(topic, 10)
    for one in (letter(b"model", 1, source="models"), letter(b"{}", 2)):
        producer.produce("dead-letters", encode(one), partition=0)
    assert producer.flush(30) == 0
    of = ("--bootstrap", bootstrap, "--timeout", "10")
    nowhere = run(*of, "--dry-run")
    assert counts(nowhere) == {"wine missing_field cannot be sent": 2}
    assert nowhere["cannot_be_sent"][0]["reason"].startswith(
        "nobody said that records may be sent to 'models'"
    )
    expected = {"wine missing_field sent": 1, "wine missing_field cannot be sent": 1}
    for more in (["--dry-run"], []):
        assert counts(run(*of, "--to", "wines", *more)) == expected
    assert read(bootstrap, "models", producer) == []
    assert [m.value() for m in read(bootstrap, "wines", producer)] == [b"{}"]


def test_records_of_a_partition_go_in_its_order(mock_broker):
    """Letters of one partition come mixed: after a restart, and of several instances."""
    bootstrap, producer = mock_broker
    for topic in ("wines", "dead-letters", "dead-letters-replayed"):
        producer.list_topics(topic, 10)
    offsets = [7, 3, 5, 3, 12, 1]
    for at in offsets:
        producer.produce("dead-letters", encode(letter(b"%d" % at, at, keys=[b"k"])), partition=at % 2)
    assert producer.flush(30) == 0
    run("--bootstrap", bootstrap, "--timeout", "10", "--to", "wines")
    assert [m.value() for m in read(bootstrap, "wines", producer)] == [b"1", b"3", b"5", b"7", b"12"]


def test_lines_of_a_file_go_in_its_order(folder: Path):
    put(folder, *(letter(b"%d" % at, at, source="wine/a") for at in (11, 2, 7)))
    run("--from-folder", str(folder / "dead-letters"))
    (made,) = folder.glob("records/wine/replayed-*")
    assert made.read_bytes() == b"2\n7\n11\n"
    done = CliRunner().invoke(app, ["replay-dead-letters", "--from-folder", str(folder), "--to", "wine"])
    assert done.exit_code == 2 and "--to" in done.output


def test_times_are_iso_and_utc():
    done = CliRunner().invoke(app, ["replay-dead-letters", "--from-folder", ".", "--since", "yesterday"])
    assert done.exit_code == 2 and "--since" in done.output
