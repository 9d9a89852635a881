"""The fork server as its owner sees it, and the processes that it forks."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from schemas.errors import SandboxError
from udfs.models.sandbox import wire
from udfs.models.sandbox.fork_server import DATAGRAM
from udfs.models.sandbox.interpreter import clean_environment, python_executable
from udfs.models.sandbox.limits import SandboxLimits

BASE = ("udfs.models.sandbox.checking", "udfs.models.sandbox.keeping")
"""What a fork server imports when it starts; what models of a type need, when the first of them comes."""

_LAST_WORDS = 400
_CHATTER = re.compile(r"[IW]\d{4} |WARNING: All log messages before")  # of TensorFlow, when all is well
_CONTROL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class ForkSpec:
    """What a fork server is made with; processes are forked with `limits`."""

    limits: SandboxLimits = field(default_factory=SandboxLimits)
    modules: tuple[str, ...] = BASE
    python: str | None = None


class ForkServer:
    """Starts in the background when it is made, and again when it has died. For any thread.

    It outlives neither `close` nor the process that made it: its control socket ends with that.
    """

    def __init__(self, spec: ForkSpec) -> None:
        self.spec = spec
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self._closed = False
        self._children: set[Child] = set()
        self.starts = 0
        with self._lock, suppress(SandboxError, OSError):  # told when it is needed
            self._start()

    def fork(
        self,
        function: str,
        readable: Sequence[str] = (),
        writable: Sequence[str] = (),
        modules: Sequence[str] = (),
    ) -> Child:
        """A process that runs `function` (`module:name`), called with its channel and what is in force.

        It may read and write as `confinement.confine` says, and has `modules` (or `module:function`, called)
        imported. Raises `SandboxError` where there is none to be
        had within the time that the limits give.
        """
        ours, theirs = socket.socketpair()
        errors = os.memfd_create("errors", os.MFD_CLOEXEC)
        asked = {"function": function, "limits": asdict(self.spec.limits)}
        asked |= {"readable": list(readable), "writable": list(writable), "modules": list(modules)}
        try:
            with self._lock:
                answer = self._asked(asked, [theirs.fileno(), errors], self.spec.limits.start_seconds)
                if "failed" in answer:
                    raise SandboxError(f"a process for the model cannot be had: {answer['failed']}")
                child = Child(self, answer["pid"], ours, errors)
                self._children.add(child)
        except BaseException:
            ours.close()
            os.close(errors)
            raise
        finally:
            theirs.close()
        return child

    def end(self, child: Child) -> int | None:
        """Kill what `fork` gave, and what it started; its status, or None where nobody knows."""
        with self._lock:
            if child not in self._children:
                return None
            self._children.discard(child)
            process = self._process
            if process is None or process.poll() is not None or child.server_number != self.starts:
                return None  # its server is gone, and it was killed with that
            try:
                return int(self._asked({"end": child.pid}, [])["status"])
            except SandboxError:
                return None

    def close(self) -> None:
        """End it and all that it forked. Waits as the limits say. Safe to call twice."""
        self._closed = True
        process = self._process
        if process is not None and not self._ready:
            process.kill()  # else who waits for it holds the lock for as long as it imports
        if not self._lock.acquire(timeout=self.spec.limits.stop_seconds):
            if process is not None:
                process.kill()
            self._lock.acquire()
        try:
            self._stop()
        finally:
            self._lock.release()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = theirs.fileno()
        command = [self.spec.python or python_executable(), "-P", "-m", "udfs.models.sandbox.fork_server"]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                [*command, str(number), json.dumps(self.spec.modules)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[number],
                env=clean_environment(),
                cwd="/",
                start_new_session=True,  # Ctrl-C on a terminal is for us, and we end it
            )
        except OSError as e:
            ours.close()
            raise SandboxError(f"the process that checks models cannot be started: {e}") from None
        finally:
            theirs.close()
        self._control, self._ready = ours, False
        self.starts += 1

    def _running(self) -> socket.socket:
        """The control socket of a server that can fork."""
        if self._closed:
            raise SandboxError("the job is closing: no model is checked any more")
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._control is None:
            self._start()
        control = self._control
        assert control is not None
        if not self._ready:
            said = self._heard(control, self.spec.limits.start_seconds)
            if "failed" in said:
                self._stop()
                raise SandboxError(f"the process that checks models did not start: {said['failed']}")
            self._ready = True
        return control

    def _asked(
        self, message: Mapping[str, Any], descriptors: list[int], seconds: float = _CONTROL_SECONDS
    ) -> dict[str, Any]:
        control = self._running()
        try:
            socket.send_fds(control, [json.dumps(message).encode()], descriptors)
        except OSError as e:
            self._stop()
            raise SandboxError(f"the process that checks models has ended: {e}") from None
        return self._heard(control, seconds)

    def _heard(self, control: socket.socket, seconds: float) -> dict[str, Any]:
        control.settimeout(seconds)
        try:
            data = control.recv(DATAGRAM)
        except OSError as e:
            data, why = b"", f" within {seconds:g} s" if isinstance(e, TimeoutError) else f": {e}"
        else:
            why = ", and has ended"
        if not data:
            self._stop()
            raise SandboxError(f"the process that checks models does not answer{why}")
        return dict(json.loads(data))

    def _stop(self) -> None:
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            control.close()  # which ends it, and it ends its children
        if process is None:
            return
        try:
            process.wait(self.spec.limits.stop_seconds)
        except subprocess.TimeoutExpired:  # it is still importing: its children, if any, die with it
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.spec.limits.stop_seconds)


class Child:
    """One forked process. For one thread at a time."""

    def __init__(self, server: ForkServer, pid: int, channel: socket.socket, errors: int) -> None:
        self._server, self._errors = server, errors
        self.server_number = server.starts
        self.pid = pid
        self.channel = channel
        self._status: int | None = None
        self._ended = False

    def send(self, data: bytes) -> None:
        """Raises `wire.EndedError`."""
        self.channel.settimeout(None)
        wire.send(self.channel, data)

    def hear(self, until: float | None) -> dict[str, Any]:
        """Raises the errors of `wire.hear`."""
        return wire.hear(self.channel, until)

    def end(self) -> str:
        """Kill it, where it has not ended, and say how it ended. Safe to call twice."""
        if not self._ended:
            self._ended = True
            self._status = self._server.end(self)
            self.channel.close()
            self._words = _last_words(self._errors)
            os.close(self._errors)
        return _described(self._status) + (f": {self._words}" if self._words else "")

    @property
    def ended_itself(self) -> bool:
        """Whether what it ran ended it, and not a limit, somebody else, or its server's end. After `end`."""
        status = self._status
        if status is None or os.WIFEXITED(status):
            return status is not None
        return os.WTERMSIG(status) in _CRASHES


_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})


def _described(status: int | None) -> str:
    if status is None:
        return "it was lost"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return "it used up its processor time"
        return f"it was ended by {signal_name(number)}"
    return f"it ended with status {os.waitstatus_to_exitcode(status)}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_words(errors: int) -> str:
    size = os.fstat(errors).st_size
    written = os.pread(errors, _LAST_WORDS, max(size - _LAST_WORDS, 0)).decode("utf-8", "replace")
    lines = [line for line in written.splitlines() if line.isprintable() and not _CHATTER.match(line)]
    return " ".join(lines[-3:]).strip()


_shared: dict[ForkSpec, tuple[ForkServer, int]] = {}
_shared_lock = threading.Lock()


def acquire(spec: ForkSpec) -> ForkServer:
    """The fork server of this process for such a spec, shared by all that have acquired it."""
    with _shared_lock:
        server, users = _shared.get(spec) or (ForkServer(spec), 0)
        _shared[spec] = (server, users + 1)
        return server


def release(server: ForkServer) -> None:
    """Give back what `acquire` gave; the last one closes it."""
    with _shared_lock:
        kept, users = _shared.get(server.spec, (None, 0))
        if kept is not server:
            return
        if users > 1:
            _shared[server.spec] = (server, users - 1)
            return
        del _shared[server.spec]
    server.close()
