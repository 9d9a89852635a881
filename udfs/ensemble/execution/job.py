"""One candidate's share of a request, from its arrival at an executor to its only answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from schemas.results.answers import Answer, AnswerOutcome, Asked, Request


class Reason(StrEnum):
    """Why a candidate was not asked, or its answer not waited for."""

    LATE_ON_ARRIVAL = "the deadline was over on arrival"
    LATE_IN_QUEUE = "the deadline was over before its turn came"
    OCCUPIED = "occupied"
    LOADING = "loading"
    NO_MODEL = "no model"
    FENCED_OUT = "fenced out: too many calls are stuck"
    FENCED = "fenced off: the call did not come back"
    RESTARTED = "restarted"
    ENDED = "the input ended"


@dataclass(slots=True, eq=False)
class Job:
    """`payloads` are those of the records asked about; `key` is the Flink key that the request came under.

    `prompt`: its answer is worth a moment's wait. `done`: a worker has handed its answer in.
    """

    key: str
    request: Request
    asked: Asked
    payloads: Sequence[bytes]
    prompt: bool = False
    done: bool = False

    def over(self, now: float) -> bool:
        """Whether the deadline has passed, at `now` in epoch ms."""
        return now >= self.request.deadline

    def unscored(self, reason: str, now: float, outcome: AnswerOutcome = AnswerOutcome.DECLINED) -> Answer:
        request = self.request
        return Answer(
            request.batch_id,
            request.data_type,
            self.asked.candidate,
            outcome,
            waited_ms=max(now - request.created, 0.0),
            reason=str(reason),
        )


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """What has to survive of an unanswered job: enough to decline it after a restart."""

    batch_id: str
    data_type: str
    candidate: str
    created: int

    def restarted(self, now: float) -> Answer:
        return Answer(
            self.batch_id,
            self.data_type,
            self.candidate,
            AnswerOutcome.DECLINED,
            waited_ms=max(now - self.created, 0.0),
            reason=Reason.RESTARTED.value,
        )


def pending_of(jobs: Iterable[Job]) -> list[Pending]:
    return [
        Pending(j.request.batch_id, j.request.data_type, j.asked.candidate, j.request.created) for j in jobs
    ]


def encode_pending(pending: Sequence[Pending]) -> bytes:
    return msgspec.msgpack.encode(pending)


def decode_pending(data: bytes) -> list[Pending]:
    return msgspec.msgpack.decode(data, type=list[Pending])
