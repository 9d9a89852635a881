"""What becomes of predictions and outcomes. Each gets one fate, or is still waiting: the sums hold."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.lifecycle.quality import OutcomeCounts
from schemas.versioned import read_versioned


class PredictionFate(StrEnum):
    """JOINED: an outcome came within its window; UNKNOWN: its window closed without one.

    REPEATED: the same result again, which changes nothing. CROWDED: too many of one key. UNREADABLE: a dead
    letter, of which these two are. OTHER: of a data type that nobody judges.
    """

    JOINED = "joined"
    UNKNOWN = "no_outcome"
    REPEATED = "repeated"
    CROWDED = "crowded"
    UNREADABLE = "unreadable"
    OTHER = "other_type"


class OutcomeFate(StrEnum):
    """JOINED: the first of a prediction; CORRECTION: a later one, which counts instead; OUTDATED: of an
    earlier time than the one that counts: kept, and does not count; DUPLICATE: says what is known.

    Dead letters are: OUTSIDE (of the window of each prediction of its key), NO_PREDICTION (none came while
    it was kept), CROWDED and UNREADABLE.
    """

    JOINED = "joined"
    CORRECTION = "correction"
    OUTDATED = "outdated"
    DUPLICATE = "duplicate"
    OUTSIDE = "outside"
    NO_PREDICTION = "no_prediction"
    CROWDED = "crowded"
    UNREADABLE = "unreadable"


class Fates(msgspec.Struct):
    """How many had each fate, and how many came in. Fates of predictions are told when they are final: one
    that has its outcome is JOINED at once, although corrections may follow."""

    predictions_in: int = 0
    outcomes_in: int = 0
    predictions: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    version: int = 1

    def prediction(self, fate: PredictionFate, count: int = 1) -> None:
        name = fate._value_  # what `value` gives, which is a function in Python
        self.predictions[name] = self.predictions.get(name, 0) + count

    def outcome(self, fate: OutcomeFate, count: int = 1) -> None:
        name = fate._value_
        self.outcomes[name] = self.outcomes.get(name, 0) + count

    def results_read(self, passed_over: int, refused: int) -> None:
        """Results that are no predictions: of other data types, and dead letters."""
        self.predictions_in += passed_over + refused
        for fate, count in ((PredictionFate.OTHER, passed_over), (PredictionFate.UNREADABLE, refused)):
            if count:
                self.prediction(fate, count)

    def outcomes_read(self, refused: int) -> None:
        """Outcomes that are dead letters, since nobody can read them."""
        self.outcomes_in += refused
        if refused:
            self.outcome(OutcomeFate.UNREADABLE, refused)

    def told(self, group: int, at: int) -> OutcomeCounts:
        """As the message of the instance that works, or worked, under this key group."""
        predictions, outcomes = self.waiting
        return OutcomeCounts(
            key_group=group,
            predictions=dict(self.predictions),
            outcomes=dict(self.outcomes),
            predictions_in=self.predictions_in,
            outcomes_in=self.outcomes_in,
            waiting_predictions=predictions,
            waiting_outcomes=outcomes,
            at=at,
        )

    @property
    def waiting(self) -> tuple[int, int]:
        """Predictions without an outcome, and outcomes without a prediction, whose time has not passed."""
        settled = sum(self.predictions.values()), sum(self.outcomes.values())
        return self.predictions_in - settled[0], self.outcomes_in - settled[1]


def encode_fates(fates: Fates) -> bytes:
    return msgspec.msgpack.encode(fates)


def decode_fates(data: bytes) -> Fates:
    """Raises `StateError` for other bytes and for a newer version."""
    return read_versioned(_FATES.decode, data, "counts of fates")


_FATES = msgspec.msgpack.Decoder(Fates)
