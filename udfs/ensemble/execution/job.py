"""One candidate's share of a request, from its arrival at an executor to its only answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from schemas.results.answers import Answer, AnswerOutcome, Asked, Reason, Request


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


class PendingCall(msgspec.Struct, frozen=True, array_like=True):
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


def pending_of(jobs: Iterable[Job]) -> list[PendingCall]:
    return [
        PendingCall(j.request.batch_id, j.request.data_type, j.asked.candidate, j.request.created)
        for j in jobs
    ]


def encode_pending(pending: Sequence[PendingCall]) -> bytes:
    return msgspec.msgpack.encode(pending)


def decode_pending(data: bytes) -> list[PendingCall]:
    return _PENDING_DECODER.decode(data)


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_PENDING_DECODER = msgspec.msgpack.Decoder(list[PendingCall])
