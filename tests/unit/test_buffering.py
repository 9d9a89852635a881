"""When records stop waiting for a model, and what waits in keyed state meanwhile."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest

from operators import buffer as buffering
from operators.buffer import Buffer
from schemas.errors import StateError
from schemas.micro_batch import encode_micro_batch
from tests.flink_fakes import KeyedContext
from tests.serving_fakes import batch_of
from udfs.serving.buffering import BufferAccount, BufferPolicy, decode_account

POLICY = BufferPolicy(records=100, bytes=5000, seconds=2.5)


@pytest.mark.parametrize(
    ("records", "size", "waited_ms", "reason"),
    [
        (0, 0, 10_000, ""),
        (1, 10, 2500, ""),
        (1, 10, 2501, "no model yet after 2.5 s"),
        (100, 10, 0, ""),
        (101, 10, 0, "no model yet; more than 100 records waited"),
        (101, 10, 9000, "no model yet; more than 100 records waited"),
        (1, 5000, 0, ""),
        (1, 5001, 0, "no model yet; more than 5000 bytes of records waited"),
        (100, 5001, 9000, "no model yet; more than 5000 bytes of records waited"),
    ],
)
def test_a_wait_ends_beyond_its_bounds(records: int, size: int, waited_ms: int, reason: str):
    account = BufferAccount(1, records, size, since=1000)
    assert account.exceeded(POLICY, 1000 + waited_ms) == reason


class Harness:
    def __init__(self, policy: BufferPolicy = POLICY, context: KeyedContext | None = None) -> None:
        self.context = context or KeyedContext()
        self.context.key = "a"
        self.buffer = Buffer(self.context, policy)  # type: ignore[arg-type]

    def add(self, start: int = 0, data_type: str = "t", key: str = "a", payload: bytes = b"{}") -> None:
        self.context.key = key
        self.buffer.add(key, batch_of([payload], data_type, start))

    def taken(self, data_type: str = "t", key: str = "a") -> list[int]:
        self.context.key = key
        return [offset for batch in self.buffer.take(key, data_type) for offset in batch.offsets]


def test_what_waits_comes_out_in_order_and_once():
    harness = Harness()
    for start in range(12):  # ten and more: names are no order
        harness.add(start)
    assert harness.buffer.any("a", "t") and harness.buffer.data_types() == ["t"]
    assert harness.taken() == list(range(12))
    assert harness.taken() == [] and not harness.buffer.any("a", "t") and harness.buffer.data_types() == []
    assert not any(harness.context.states["buffered"].values())
    harness.add(20)
    assert harness.buffer.any("a", "t") and harness.taken() == [20]


def test_what_is_put_back_is_first_again():
    harness = Harness()
    for start in range(3):
        harness.add(start)
    first = harness.buffer.first("a", "t")
    assert first is not None and first.offsets == [0]
    harness.buffer.put_back("a", batch_of([b"{}"], start=0))
    harness.buffer.put_back("a", batch_of([b"{}"], start=-1))
    harness.add(3)
    again = Harness(context=harness.context)  # as after a restart
    assert again.taken() == [-1, 0, 1, 2, 3]
    assert not any(harness.context.states["buffered"].values())


def test_neighbours_are_taken_together_within_the_bounds():
    harness = Harness()
    for start in range(0, 10, 2):
        harness.buffer.add("a", batch_of([b"{}"] * 2, start=start))
    taken = [harness.buffer.first("a", "t", records=5) for _ in range(2)]
    assert [one and one.offsets for one in taken] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    harness.buffer.add("a", replace(batch_of([b"{}"], start=10), source="another"))
    assert harness.taken() == [8, 9, 10]
    for start in range(3):
        harness.add(start, payload=b"x" * (600 << 10))
    found = harness.buffer.first("a", "t", records=5)
    assert found is not None and found.offsets == [0], "and not more than a megabyte"
    other = Harness()
    other.add(0)
    other.buffer.add("a", replace(batch_of([b"{}"], start=1), source="another"))
    found = other.buffer.first("a", "t", records=5)
    assert found is not None and found.offsets == [0] and other.taken() == [1]


def test_half_of_the_bounds_is_for_what_waits_behind_a_call():
    harness = Harness(BufferPolicy(records=4, bytes=1 << 20))
    assert not harness.buffer.full("a", "t")
    for start in range(2):
        harness.add(start)
    assert not harness.buffer.full("a", "t")
    harness.add(2)
    assert harness.buffer.full("a", "t") and not harness.buffer.overdue("a", "t")
    harness.buffer.first("a", "t")
    assert not harness.buffer.full("a", "t")
    size = len(encode_micro_batch(batch_of([b"{}"])))
    assert BufferAccount(1, 1, size).full(BufferPolicy(bytes=2 * size - 1))


def test_what_a_release_before_kept_comes_out():
    """Its accounts had no number of the first: it was 0."""
    harness = Harness()
    for start in range(2):
        harness.add(start)
    harness.context.states["buffer-accounts"]["a"]["t"] = struct.pack("<Bqqqq", 1, 2, 2, 100, 1000)
    assert Harness(context=harness.context).taken() == [0, 1]
    with pytest.raises(StateError, match="version 3; this release reads 1 to 2"):
        decode_account(b"\x03" + bytes(40))


def test_keys_and_data_types_are_apart():
    harness = Harness()
    harness.add(1, "t", "a")
    harness.add(2, "u", "a")
    harness.add(3, "t", "b")
    assert harness.taken("u") == [2] and harness.taken("t", "b") == [3]
    assert harness.taken("v") == [] and harness.taken("t") == [1]


def test_the_bytes_of_each_data_type_are_bounded():
    size = len(encode_micro_batch(batch_of([b"{}"])))
    harness = Harness(BufferPolicy(bytes=2 * size))
    harness.add(0)
    harness.add(1)
    harness.add(0, "u")
    assert (
        harness.buffer.overdue("a", "t")
        == harness.buffer.overdue("a", "u")
        == harness.buffer.overdue("a", "v")
        == ""
    )
    harness.add(2)
    assert harness.buffer.overdue("a", "t") == f"no model yet; more than {2 * size} bytes of records waited"
    assert harness.buffer.overdue("a", "u") == ""
    harness.taken()
    harness.add(3)
    assert harness.buffer.overdue("a", "t") == "", "the account begins anew"


def test_the_oldest_decides_about_the_time_over_a_restart_too(monkeypatch: pytest.MonkeyPatch):
    clock = [1000]
    monkeypatch.setattr(buffering, "_now", lambda: clock[0])
    harness = Harness()
    harness.add(0)
    clock[0] = 3400
    harness.add(1)
    again = Harness(context=harness.context)
    assert again.buffer.overdue("a", "t") == "" and again.buffer.any("a", "t")
    clock[0] = 3501
    assert again.buffer.overdue("a", "t") == "no model yet after 2.5 s"
    assert again.taken() == [0, 1]


def test_what_is_known_to_be_empty_is_not_read_again():
    harness = Harness()
    read: list[Any] = []
    assert not harness.buffer.any("a", "t")
    harness.buffer._accounts.get = read.append  # type: ignore[method-assign]
    assert not harness.buffer.any("a", "t") and read == []


def test_what_waits_of_all_data_types_is_bounded_together():
    """Records may invent data types by a header: each has bounds of its own, and all have these."""
    size = len(encode_micro_batch(batch_of([b"{}"])))
    harness = Harness(BufferPolicy(all_bytes=2 * size))
    for data_type in "tu":
        harness.add(0, data_type)
    assert not harness.buffer.overdue("a", "t") and not harness.buffer.full("a", "t")
    harness.add(0, "v", "b")
    said = f"no model yet; more than {2 * size} bytes of records waited, of all data types"
    assert harness.buffer.overdue("b", "v") == said and not harness.buffer.full("b", "v")
    assert harness.taken("v", "b") == [0]
    harness.context.key = "a"
    assert not harness.buffer.overdue("a", "t") and not harness.buffer.full("a", "t")
    again = Harness(BufferPolicy(all_bytes=2 * size), harness.context)  # as after a restart
    assert again.buffer.any("a", "t") and again.buffer.any("a", "u")
    again.add(0, "v", "b")
    assert again.buffer.overdue("b", "v") == said


def test_the_data_types_of_which_records_wait_are_bounded():
    harness = Harness(BufferPolicy(types=2))
    for data_type in "tuv":
        harness.add(0, data_type)
    assert harness.buffer.overdue("a", "v") == "no model yet; records of more than 2 data types waited"
    assert harness.taken("v") == [0]
    assert not harness.buffer.overdue("a", "t")


def test_data_types_that_are_gone_are_not_remembered_for_good(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(buffering, "_IDLE_KNOWN", 10)
    harness = Harness()
    harness.add(0, "kept")
    for number in range(50):
        harness.add(0, f"t{number}")
        assert harness.taken(f"t{number}") == [0]
        assert not harness.buffer.any("a", f"u{number}")
    assert len(harness.buffer._idle) == 10 and len(harness.buffer._waiting) == 1
    assert harness.taken("kept") == [0] and harness.buffer._bytes == 0
