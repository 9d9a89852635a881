"""How requests, decision contexts and answers look in Flink: the types, and the only code that knows
positions.

Rows have two columns, a key and a value, since `operators.flink_internals.keyed_by_first` wants them so; the
functions `..._of` take the value, which is all that a keyed function receives. The key of all of them is that
of the router's instance: a micro-batch stays where it was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from pyflink.common import Row
from pyflink.common.typeinfo import Types

from operators.rows import BYTES, KEYED_BYTES
from schemas.results.answers import Answer, DecisionContext, Request

_WITH_BATCH = Types.ROW_NAMED(["message", "batch"], [BYTES, BYTES])
REQUEST = DECISION_CONTEXT = Types.ROW_NAMED(["key", "value"], [Types.STRING(), _WITH_BATCH])
ANSWER = KEYED_BYTES


def request_row(key: str, request: Request, batch: bytes) -> Row:
    """`batch`: the bytes of the micro-batch."""
    return Row(key, Row(msgspec.msgpack.encode(request), batch))


def request_of(value: Any) -> tuple[Request, bytes]:
    """The request, and the bytes of its micro-batch."""
    return _REQUEST_DECODER.decode(bytes(value[0])), bytes(value[1])


def context_row(key: str, context: DecisionContext, batch: bytes) -> Row:
    return Row(key, Row(msgspec.msgpack.encode(context), batch))


def context_of(value: Any) -> tuple[bytes, bytes]:
    """The decision context as msgpack, as which it goes into state, and the bytes of its micro-batch."""
    return bytes(value[0]), bytes(value[1])


def answers_row(key: str, answers: Sequence[Answer]) -> Row:
    """All that are ready at once: each row costs the collector calls between languages."""
    return Row(key, msgspec.msgpack.encode(answers))


def answers_of(value: Any) -> list[Answer]:
    return _ANSWERS_DECODER.decode(bytes(value))


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_REQUEST_DECODER = msgspec.msgpack.Decoder(Request)
_ANSWERS_DECODER = msgspec.msgpack.Decoder(list[Answer])
