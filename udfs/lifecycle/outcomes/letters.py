"""Predictions and outcomes that found no place, as dead letters."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

from schemas.results.records import RAW_LIMIT, DeadLetter
from udfs.lifecycle.outcomes.fates import OutcomeFate
from udfs.lifecycle.outcomes.messages import Came, Predicted

REASONS = {
    OutcomeFate.NO_PREDICTION: "no prediction of its key came while it was kept",
    OutcomeFate.OUTSIDE: "it lies outside of the attribution window of each prediction of its key",
    OutcomeFate.CROWDED: "its key has as many outcomes as one may have (most_of_a_key)",
}


def outcome_letters(dead: Iterable[tuple[Came, OutcomeFate]]) -> Iterator[DeadLetter]:
    """The code is the fate."""
    for came, fate in dead:
        yield DeadLetter(
            data_type=came.data_type,
            source=came.source,
            partition=came.partition,
            offset=came.offset,
            event_time=came.time,
            code=fate.value,
            reason=f"outcome: {REASONS[fate]}",
            raw=base64.b64encode(came.raw[:RAW_LIMIT]).decode("ascii"),
            size=len(came.raw),
        )


def crowded_letters(crowded: Iterable[Predicted]) -> Iterator[DeadLetter]:
    """The result is where its record's identity says; its bytes are not kept."""
    for one in crowded:
        yield DeadLetter(
            data_type=one.data_type,
            source=one.source,
            partition=one.partition,
            offset=one.offset,
            event_time=one.event_time,
            code="crowded",
            reason="result: its key has as many predictions as one may have (most_of_a_key)",
            raw=None,
            size=0,
        )
