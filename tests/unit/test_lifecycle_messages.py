"""Messages about quality and experiments: they read back, and what is none is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from schemas.errors import ExperimentError, StatisticsError
from schemas.lifecycle.alert_run import read_run
from schemas.lifecycle.experiments import read_event
from schemas.lifecycle.quality import EvidenceBatch, QualityRecord, read_message, write_message
from schemas.lifecycle.window_statistics import read_window
from udfs.lifecycle.drift.alerts import read_alert

QUALITY = QualityRecord(
    data_type="wine", window=60_000, window_ms=60_000, model="forest", version=3, slices={"country": "de"}
)
EVIDENCE = EvidenceBatch(
    data_type="wine",
    experiment="wine-v4",
    entities=("ann", "bob"),
    arms=("control", "treatment"),
    steps=(0, 0),
    event_times=(1, 2),
    values={"outcome": (1.0, None)},
)


def test_messages_read_back_and_newer_fields_are_passed_over() -> None:
    assert read_message(QualityRecord, write_message(QUALITY)) == QUALITY
    assert read_message(EvidenceBatch, write_message(EVIDENCE)) == EVIDENCE
    newer = orjson.dumps({**orjson.loads(write_message(EVIDENCE)), "more": 1})
    assert read_message(EvidenceBatch, newer) == EVIDENCE


@pytest.mark.parametrize("data", [b"", b"[]", b'{"data_type": 1}', b"\xff"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(StatisticsError, match="no EvidenceBatch"):
        read_message(EvidenceBatch, data)


@pytest.mark.parametrize(
    ("read", "refused"),
    [
        (read_event, ExperimentError),
        (read_run, StatisticsError),
        (read_window, StatisticsError),
        (read_alert, StatisticsError),
    ],
)
def test_text_that_is_not_utf8_is_no_message_of_any_kind(read: Any, refused: type[Exception]) -> None:
    for name in (b"reason", b"model", b"id"):
        with pytest.raises(refused, match="this is no"):
            read(b'{"%b":"\xff"}' % name)


def test_a_newer_format_is_refused_by_name() -> None:
    with pytest.raises(StatisticsError, match="format 2"):
        read_message(QualityRecord, write_message(QUALITY).replace(b'"format":1', b'"format":2'))


def test_columns_of_different_lengths_are_no_evidence() -> None:
    with pytest.raises(ValueError, match="has 1 of arms"):
        EvidenceBatch(data_type="wine", experiment="e", entities=("a", "b"), arms=("control",))
    cut = write_message(EVIDENCE).replace(b'["control","treatment"]', b'["control"]')
    with pytest.raises(StatisticsError, match="has 1 of arms"):
        read_message(EvidenceBatch, cut)


def test_the_key_tells_apart_what_is_told_apart() -> None:
    other = read_message(QualityRecord, write_message(QUALITY).replace(b'"de"', b'"fr"'))
    assert QUALITY.key != other.key and EVIDENCE.key == "wine-v4"
