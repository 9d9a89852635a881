"""Processes that may die: what they are kept from, how their end is told, and that they end with their
owner."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import InconclusiveError, ModelError, QuotaError, SandboxError, UnsafeModelError
from udfs.io import own_python
from udfs.models.sandbox import confinement, interpreter, landlock, wire
from udfs.models.sandbox.limits import SandboxLimits
from udfs.models.sandbox.places import last_answer
from udfs.models.sandbox.processes import Child, ForkServer, ForkSpec, acquire, release

WAIT = 30.0
LIMITS = SandboxLimits(
    memory_bytes=512 << 20, cpu_seconds=1, file_bytes=1 << 20, open_files=64, start_seconds=WAIT
)
LIGHT = ("tests.sandbox_functions",)


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    made = ForkServer(ForkSpec(LIMITS, LIGHT))
    yield made
    made.close()


@pytest.fixture
def forked(server: ForkServer) -> Iterator:
    made: list[Child] = []

    def fork(name: str, **more) -> Child:
        made.append(server.fork(f"tests.sandbox_functions:{name}", **more))
        return made[-1]

    yield fork
    for child in made:
        child.end()


def outcome(child: Child, seconds: float = WAIT) -> ModelError:
    """How a process comes out that is to say what it did."""
    with pytest.raises(ModelError) as caught:
        last_answer(child, time.monotonic() + seconds, seconds)
    return caught.value


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def until(condition) -> None:
    over = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < over, "waited in vain"
        time.sleep(0.01)


def test_a_process_answers_with_none_of_our_environment(forked, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    said = forked("answers").hear(time.monotonic() + WAIT)
    assert "AWS_SECRET_ACCESS_KEY" not in said["environment"]
    assert confinement.NO_NEW_PRIVILEGES in said["in_force"]


@pytest.mark.parametrize(
    ("name", "step", "says"),
    [
        ("crashes", "load", "ended by SIGSEGV"),
        ("burns", "warm-up", "used up its processor time"),
        ("raises", "check", "an error of its own"),
        ("talks_nonsense", "check", "a message of"),
    ],
)
def test_an_end_without_an_outcome_is_told_with_its_step(forked, name: str, step: str, says: str):
    error = outcome(forked(name))
    assert isinstance(error, InconclusiveError) and error.step == step
    assert says in str(error)


def test_a_process_that_hangs_is_ended_at_its_deadline(forked):
    child = forked("hangs")
    error = outcome(child, 0.2)
    assert isinstance(error, InconclusiveError) and error.step == "trial"
    assert "within 0.2 s" in str(error)
    assert not alive(child.pid)


def test_what_grows_is_stopped_and_refused(forked):
    error = outcome(forked("grows"))
    assert isinstance(error, QuotaError) and error.step == "load"
    assert "more memory than it may have" in str(error)


def test_a_refusal_keeps_its_kind_and_step_and_is_cut(forked):
    error = outcome(forked("refuses"))
    assert type(error) is UnsafeModelError and error.step == "safety"
    assert len(str(error)) <= 2000


def test_what_a_process_may_not_do(forked, tmp_path: Path):
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    own.mkdir()
    foreign.mkdir()
    (foreign / "there").write_text("secret")
    child = forked("tries", writable=[str(own)])
    child.send(f"{own}\n{foreign}".encode())
    found = child.hear(time.monotonic() + WAIT)
    assert found["write own"] == "done"
    assert found["write large"] == "OSError"
    assert found["descriptors"] == "OSError"
    assert found["connect"] != "done"
    if landlock.version():
        assert found["write foreign"] == found["read foreign"] == "PermissionError"
    if landlock.version() >= 6:
        assert found["signal"] == "PermissionError"
    assert not (foreign / "x").exists()


def test_what_a_process_has_started_ends_with_it(forked):
    child = forked("starts_another")
    other = child.hear(time.monotonic() + WAIT)["pid"]
    assert alive(other)
    child.end()
    until(lambda: not alive(other))


def test_a_server_that_died_is_started_again():
    server = ForkServer(ForkSpec(LIMITS, LIGHT))
    try:
        first = server.fork("tests.sandbox_functions:hangs")
        first.hear(time.monotonic() + WAIT)
        server._process.kill()
        until(lambda: not alive(first.pid))
        with pytest.raises(wire.EndedError):
            first.hear(time.monotonic() + WAIT)
        assert "it was lost" in first.end()
        until(lambda: server._process.poll() is not None)
        second = server.fork("tests.sandbox_functions:answers")
        assert second.hear(time.monotonic() + WAIT)["in_force"]
        second.end()
        assert server.starts == 2
    finally:
        server.close()


def test_closing_ends_all_and_then_none_is_forked():
    server = ForkServer(ForkSpec(LIMITS, LIGHT))
    child = server.fork("tests.sandbox_functions:hangs")
    child.hear(time.monotonic() + WAIT)
    pid = server._process.pid
    server.close()
    until(lambda: not alive(child.pid) and not alive(pid))
    with pytest.raises(SandboxError, match="closing"):
        server.fork("tests.sandbox_functions:answers")
    child.end()
    server.close()


def test_closing_does_not_wait_for_imports(tmp_path: Path):
    server = ForkServer(ForkSpec(LIMITS, ("time:sleep_for_ever_is_no_function",)))
    with pytest.raises(SandboxError, match="did not start: AttributeError"):
        server.fork("tests.sandbox_functions:answers")
    server.close()
    slow = ForkServer(ForkSpec(LIMITS, ("tests.sandbox_slow_import",)))
    pid = slow._process.pid
    slow.close()
    assert not alive(pid)


def test_no_process_outlives_its_owner(tmp_path: Path):
    """Killed outright, the owner has no time to end anything."""
    code = (
        "import os, signal, sys, time\n"
        "from udfs.models.sandbox.processes import ForkServer, ForkSpec\n"
        f"server = ForkServer(ForkSpec(modules={LIGHT!r}))\n"
        "child = server.fork('tests.sandbox_functions:starts_another')\n"
        "print(server._process.pid, child.pid, child.hear(time.monotonic() + 30)['pid'], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 3
    until(lambda: not any(alive(pid) for pid in pids))


def test_servers_of_one_spec_are_shared_until_the_last_has_released_it():
    spec = ForkSpec(LIMITS, (*LIGHT, "json"))
    first, second = acquire(spec), acquire(spec)
    assert first is second
    release(first)
    first.fork("tests.sandbox_functions:answers").end()
    release(second)
    with pytest.raises(SandboxError, match="closing"):
        first.fork("tests.sandbox_functions:answers")


@pytest.mark.parametrize("embedded", ["", "/usr/lib/jvm/bin/java"])
def test_an_embedded_interpreter_finds_its_python(monkeypatch, embedded: str, tmp_path: Path):
    monkeypatch.setattr(sys, "executable", embedded)
    assert Path(interpreter.python_executable({"VIRTUAL_ENV": sys.prefix})).is_relative_to(sys.prefix)
    assert Path(interpreter.python_executable({})).name.startswith("python")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(own_python.sysconfig, "get_config_var", lambda name: None)
    with pytest.raises(SandboxError, match="there is no python"):
        interpreter.python_executable({"PATH": str(tmp_path)})
