"""Time travels as records do: what `MicroBatcher.java` sends among micro-batches, on the mini cluster."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from operators.environment import FlinkSpec, make_environment
from operators.key_groups import key_groups
from operators.sources.folder import FolderReading, folder_records
from operators.sources.gathering import DataTypes, micro_batches
from schemas.micro_batch import beat_ms, decode_micro_batch
from tests.operators.test_uids import JARS
from tests.whole_files import put
from udfs.io.gathering import Gathering

FOR_EVER = 2**63 - 1


@pytest.fixture
def gathered(tmp_path: Path) -> Any:
    put(tmp_path / "wine" / "a.jsonl", b"one\ntwo\n")

    def rows(bounded: bool) -> Any:
        env = make_environment(FlinkSpec(jars=JARS, parallelism=1))
        records = folder_records(env, FolderReading(tmp_path.as_uri(), bounded=bounded), "records")
        stream = micro_batches(
            records, DataTypes({}), Gathering(), "records", key_groups(env), marks=True, beats=True
        )
        return stream.execute_and_collect()

    return rows


def taken(row: Any) -> bytes:
    """What a row carries; collected, its bytes are signed numbers."""
    return bytes(byte & 0xFF for byte in row[1])


def payloads(found: Sequence[bytes]) -> list[bytes]:
    """Of the records among these, in however many micro-batches they came."""
    return [payload for one in found if not beat_ms(one) for payload in decode_micro_batch(one).payloads]


def test_a_beat_says_about_each_second_what_has_passed(gathered: Any) -> None:
    found: list[bytes] = []
    with gathered(bounded=False) as rows:
        while sum(map(bool, map(beat_ms, found))) < 3 or len(payloads(found)) < 2:
            found.append(taken(next(rows)))
    assert payloads(found) == [b"one", b"two"]
    # from 1,000 ms on they leave, and a look counts 250 ms at most
    assert all(1000 <= beat_ms(one) < 1250 for one in found if beat_ms(one))


def test_of_what_has_ended_all_time_has_passed(gathered: Any) -> None:
    with gathered(bounded=True) as rows:
        found = [taken(row) for row in rows]
    records = [*takewhile(lambda one: beat_ms(one) != FOR_EVER, found)]
    assert payloads(records) == [b"one", b"two"]
    assert [beat_ms(one) for one in found[len(records) :]] == [FOR_EVER]
