"""The process that imports what models need, once, and forks one process a model. Started by `processes`.

It runs no model itself and starts no thread, so that what it forks is whole. It ends, with all that it
forked, when the process that started it closes the control socket or is gone.

Control messages are JSON datagrams. One that names a `function` comes with two descriptors, the channel of
the new process and its standard error, and is answered with its `pid`; the `modules` that it needs are
imported before, once. `end` kills a process and those that it started, and is answered with its `status`, as
`waitpid` gives it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, NoReturn

from udfs.models.sandbox.confinement import confine, cut_off_network, die_with_parent
from udfs.models.sandbox.limits import SandboxLimits, limit_this_process

DATAGRAM = 1 << 16
FAILED = 97
"""The exit status of a process that could not be confined, or whose function raised."""


def main() -> None:
    """`argv`: the number of the control socket's descriptor, and modules to import, as JSON."""
    control = socket.socket(fileno=int(sys.argv[1]))
    network_cut = cut_off_network()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    try:
        _import_missing(json.loads(sys.argv[2]), set())
    except Exception as e:
        _answer(control, {"failed": f"{type(e).__name__}: {e}"[:1000]})
        return
    _answer(control, {"ready": os.getpid(), "threads": len(os.listdir("/proc/self/task"))})
    children: set[int] = set()
    imported: set[str] = set()
    try:
        while _one(control, children, imported, network_cut):
            pass
    finally:
        for pid in list(children):
            _end(pid, children)


def _import(name: str) -> None:
    """A module, or `module:function` to call."""
    module, _, function = name.partition(":")
    found = importlib.import_module(module)
    if function:
        getattr(found, function)()


def _import_missing(names: list[str], imported: set[str]) -> None:
    missing = [name for name in names if name not in imported]
    if missing:
        gc.unfreeze()
        for name in missing:
            _import(name)
            imported.add(name)
        gc.collect()
        gc.freeze()  # pages that no collection touches stay shared


def _one(control: socket.socket, children: set[int], imported: set[str], network_cut: bool) -> bool:
    data, descriptors, _, _ = socket.recv_fds(control, DATAGRAM, 2)
    if not data:
        return False
    asked = json.loads(data)
    if "end" in asked:
        _answer(control, {"status": _end(asked["end"], children)})
        return True
    try:
        _import_missing(asked["modules"], imported)
    except Exception as e:
        for descriptor in descriptors:
            os.close(descriptor)
        _answer(control, {"failed": f"{type(e).__name__}: {e}"[:1000]})
        return True
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        control.close()
        _run(asked, descriptors, parent, network_cut)
    children.add(pid)
    for descriptor in descriptors:
        os.close(descriptor)
    _answer(control, {"pid": pid})
    return True


def _run(asked: dict[str, Any], descriptors: list[int], parent: int, network_cut: bool) -> NoReturn:
    """The life of a forked process. `asked`: `function` (`module:name`, called with the channel and what is
    in force), `limits`, and what may be read and written."""
    status = FAILED
    try:
        die_with_parent(parent)
        os.setpgid(0, 0)
        channel, errors = descriptors
        os.dup2(errors, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.close(errors)
        in_force = confine(asked["readable"], asked["writable"], network_cut=network_cut)
        limit_this_process(SandboxLimits(**asked["limits"]))
        module, _, name = asked["function"].partition(":")
        getattr(importlib.import_module(module), name)(socket.socket(fileno=channel), in_force)
        status = 0
    except BaseException as e:
        with suppress(Exception):
            os.write(2, f"{type(e).__name__}: {e}".encode())
    finally:
        os._exit(status)  # nothing that was set up before the fork is to be torn down twice


def _end(pid: int, children: set[int]) -> int:
    if pid not in children:
        return 0
    children.discard(pid)
    with suppress(ProcessLookupError, PermissionError):
        # of one that has ended by itself this changes nothing but what it left behind
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _answer(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())


if __name__ == "__main__":
    main()
