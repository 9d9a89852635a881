"""What thread mode loads is asked for before Flink starts, with the loader's own words where it refuses."""

from __future__ import annotations

import ctypes.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import jobs.running
from jobs import thread_mode
from jobs.settings.run import RunSettings
from schemas.errors import ThreadModeError

_NOWHERE = "there is no libpython"


def _found(monkeypatch: pytest.MonkeyPatch, library: str | None) -> None:
    monkeypatch.setattr(thread_mode, "find_libpython", lambda: library)


def test_nothing_is_missing_here() -> None:
    thread_mode.check_thread_mode()


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    _found(monkeypatch, None)
    with pytest.raises(ThreadModeError) as caught:
        thread_mode.check_thread_mode()
    message = str(caught.value)
    assert f"libpython3.{sys.version_info.minor}.so for {sys.executable}" in message
    assert f"apt-get install libpython3.{sys.version_info.minor}" in message
    assert "--mode process" in message


def test_the_loaders_own_words_are_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "libpython.so"
    broken.write_text("no library")
    _found(monkeypatch, str(broken))
    with pytest.raises(ThreadModeError, match=f"refuses {broken} .*(ELF|file too short|invalid)"):
        thread_mode.check_thread_mode()


def test_a_library_that_is_not_pythons_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ctypes.util.find_library("m")
    assert other is not None
    _found(monkeypatch, other)
    with pytest.raises(ThreadModeError, match="Py_IsInitialized"):
        thread_mode.check_thread_mode()


@pytest.mark.parametrize("files", [None, [], ["pemja_core.cpython-27-x86_64-linux-gnu.so"]])
def test_pemja_of_no_or_another_python_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: list[str] | None
) -> None:
    for file in files or ():
        (tmp_path / file).touch()
    spec = None if files is None else SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(thread_mode.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ThreadModeError, match=r"package pemja.*scripts/setup"):
        thread_mode.check_thread_mode()


def test_a_broken_pemja_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / f"pemja_core.cpython-3{sys.version_info.minor}-x86_64-linux-gnu.so"
    library.write_bytes(b"\x7fELF")
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(thread_mode.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ThreadModeError, match=f"pemja's library, and the loader refuses {library}"):
        thread_mode.check_thread_mode()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Runs a job that only says how far it came."""
    reached: list[str] = []

    def make_environment(spec: Any) -> Any:
        reached.append("Flink")
        return SimpleNamespace(execute=lambda name: None)

    monkeypatch.setattr(jobs.running.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(jobs.running, "make_environment", make_environment)
    monkeypatch.delenv("PYFLINK_GATEWAY_PORT", raising=False)

    def ran(*arguments: str) -> tuple[int, list[str]]:
        code = jobs.running.run(lambda *given: None, RunSettings, list(arguments), lambda settings: None)
        return code, reached

    return ran


def test_a_job_says_so_before_flink_starts(
    run: Callable[..., tuple[int, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _found(monkeypatch, None)
    assert run() == (2, [])
    said = capsys.readouterr().err
    assert said.startswith("error: thread mode needs") and _NOWHERE in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("--mode", "process"), ("--flink", '{"python.execution-mode": "process"}')]
)
def test_process_mode_needs_no_library(
    run: Callable[..., tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    _found(monkeypatch, None)
    assert run(*arguments) == (0, ["Flink"])


def test_the_machine_that_submits_needs_none(
    run: Callable[..., tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _found(monkeypatch, None)
    monkeypatch.setenv("PYFLINK_GATEWAY_PORT", "1")
    assert run() == (0, ["Flink"])


def test_a_job_that_a_task_manager_failed_names_both_causes() -> None:
    class Cause:
        def __init__(self, text: str, cause: Cause | None = None) -> None:
            self.text, self.cause = text, cause

        def getCause(self) -> Cause | None:  # noqa: N802
            return self.cause

        def toString(self) -> str:  # noqa: N802
            return self.text

    def said(text: str) -> str:
        error: Any = SimpleNamespace(java_exception=Cause("JobExecutionException", Cause(text)))
        return jobs.running._root_cause(error)

    hidden = said("java.lang.NoSuchFieldException: loadedLibraryNames")
    assert "python -m jobs.thread_mode" in hidden and "parent-first" in hidden
    assert said("java.io.IOException: disk full") == "java.io.IOException: disk full"
