"""What the forked processes of the sandbox's tests do: each is called with its channel and what is in
force."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from udfs.models.sandbox import wire


def answers(channel: socket.socket, in_force: Any) -> None:
    wire.say(channel, {"in_force": list(in_force), "environment": sorted(os.environ)})


def crashes(channel: socket.socket, in_force: Any) -> None:
    wire.say(channel, {"step": "load"})
    ctypes.string_at(0)


def hangs(channel: socket.socket, in_force: Any) -> None:
    wire.say(channel, {"step": "trial"})
    while True:
        time.sleep(60)


def burns(channel: socket.socket, in_force: Any) -> None:
    wire.say(channel, {"step": "warm-up"})
    while True:
        pass


def grows(channel: socket.socket, in_force: Any) -> None:
    wire.say(channel, {"step": "load"})
    kept = []
    try:
        while True:
            kept.append(bytearray(64 << 20))
    except MemoryError:
        wire.say(channel, {"refused": "MemoryError"})


def raises(channel: socket.socket, in_force: Any) -> None:
    raise RuntimeError("an error of its own")


def refuses(channel: socket.socket, in_force: Any) -> None:
    wire.say(channel, {"refused": "UnsafeModelError", "step": "safety", "reason": "r" * 100_000})


def talks_nonsense(channel: socket.socket, in_force: Any) -> None:
    channel.sendall(b"\xff" * 64)
    time.sleep(60)


def starts_another(channel: socket.socket, in_force: Any) -> None:
    other = subprocess.Popen(["sleep", "600"])
    wire.say(channel, {"pid": other.pid})
    time.sleep(600)


def tries(channel: socket.socket, in_force: Any) -> None:
    """Say how each thing ends that it may not do; "done" where it was done."""
    own, foreign = wire.receive(channel, 10_000).decode().split("\n")
    found = {
        "write own": _ended(lambda: Path(own, "x").write_text("x")),
        "write foreign": _ended(lambda: Path(foreign, "x").write_text("x")),
        "read foreign": _ended(lambda: Path(foreign, "there").read_text()),
        "write large": _ended(lambda: Path(own, "y").write_bytes(bytes(1 << 21))),
        "connect": _ended(lambda: socket.create_connection(("192.0.2.1", 9), timeout=1)),
        "signal": _ended(lambda: os.kill(int(os.environ.get("OWNER", "1")), 0)),
        "descriptors": _ended(lambda: [os.dup(0) for _ in range(10_000)]),
    }
    wire.say(channel, found)


def _ended(action: Any) -> str:
    try:
        action()
    except BaseException as e:
        return type(e).__name__
    return "done"
