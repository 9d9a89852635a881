"""How requests, expectations and answers look in Flink: the types, and the only code that knows positions.

Rows have two columns, a key and a value, since `operators.keyed_table.keyed_by_first` wants them so; the
functions `..._of` take the value, which is all that a keyed function receives. A request's key is that of the
router's block, `LANE/DATA_TYPE`; the others' is the block id.
"""

from __future__ import annotations

from typing import Any

import msgspec
from pyflink.common import Row
from pyflink.common.typeinfo import Types

from operators.block_row import BLOCK, BYTES
from schemas.block import PackedBlock
from schemas.results.answers import Answer, Expectation, Request

_REQUEST = Types.ROW_NAMED(["request", "block"], [BYTES, BLOCK])
_EXPECTATION = Types.ROW_NAMED(["expectation", "block"], [BYTES, BLOCK])
REQUEST = Types.ROW_NAMED(["key", "value"], [Types.STRING(), _REQUEST])
EXPECTATION = Types.ROW_NAMED(["key", "value"], [Types.STRING(), _EXPECTATION])
ANSWER = Types.ROW_NAMED(["key", "answer"], [Types.STRING(), BYTES])


def request_row(key: str, request: Request, block: Any) -> Row:
    """`block`: the row of type BLOCK as it came."""
    return Row(key, Row(msgspec.msgpack.encode(request), block))


def request_of(value: Any) -> tuple[Request, Any]:
    """The request, and its block as a row of type BLOCK."""
    return msgspec.msgpack.decode(bytes(value[0]), type=Request), value[1]


def expectation_row(expectation: Expectation, block: Any) -> Row:
    return Row(expectation.block_id, Row(msgspec.msgpack.encode(expectation), block))


def expectation_of(value: Any) -> tuple[bytes, PackedBlock]:
    """The expectation as msgpack, as which it goes into state, and its block."""
    data_type, source, count, *parts = value[1]
    copies: list[Any] = [None if part is None else bytes(part) for part in parts]
    return bytes(value[0]), PackedBlock(data_type, source, count, *copies)


def answer_row(answer: Answer) -> Row:
    return Row(answer.block_id, msgspec.msgpack.encode(answer))


def answer_of(value: Any) -> bytes:
    """The answer as msgpack."""
    return bytes(value)
