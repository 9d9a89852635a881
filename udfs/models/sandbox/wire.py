"""Messages between a process and the one that it started: a length and so many bytes, on a stream socket.

What comes from the process that runs the model is JSON and has a bound: it may be anything.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

LONGEST_ANSWER = 1 << 20
"""Bytes of one message from the process that runs the model."""

_LENGTH = struct.Struct("!Q")
_AT_ONCE = 1 << 20


class EndedError(Exception):
    """The other side is gone."""


class LateError(Exception):
    """Nothing came in time."""


class NonsenseError(Exception):
    """What came is no message of ours."""


def send(channel: socket.socket, data: bytes) -> None:
    """Send one message. Raises `EndedError`."""
    try:
        channel.sendall(_LENGTH.pack(len(data)))
        channel.sendall(data)
    except OSError as e:
        raise EndedError(str(e)) from None


def say(channel: socket.socket, message: dict[str, Any]) -> None:
    """Send one message as JSON. Raises `EndedError`."""
    send(channel, json.dumps(message).encode())


def receive(channel: socket.socket, most: int, until: float | None = None) -> bytes:
    """One message of at most `most` bytes. `until`: seconds of `time.monotonic`, or for ever.

    Raises `EndedError`, `LateError` and `NonsenseError`.
    """
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size, until))
    if length > most:
        raise NonsenseError(f"a message of {length} bytes, where {most} are the most")
    return _exactly(channel, length, until)


def hear(channel: socket.socket, until: float | None = None) -> dict[str, Any]:
    """One JSON object. Raises as `receive` does."""
    try:
        message = json.loads(receive(channel, LONGEST_ANSWER, until))
    except (ValueError, RecursionError) as e:
        raise NonsenseError(f"a message that is no JSON: {e}") from None
    if not isinstance(message, dict):
        raise NonsenseError(f"a message that is no object but {type(message).__name__}")
    return message


def _exactly(channel: socket.socket, count: int, until: float | None) -> bytes:
    parts, left = [], count
    while left:
        try:
            channel.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
            part = channel.recv(min(left, _AT_ONCE))
        except TimeoutError:
            raise LateError from None
        except OSError as e:
            raise EndedError(str(e)) from None
        if not part:
            raise EndedError("the connection ended")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
