"""Whether Python can run inside Flink's JVM here (thread mode): `python -m jobs.thread_mode` says so.

Flink's JVM loads Python's shared library and then the library of the pemja package. Debian's packages of
Python leave the shared library out, and the JVM then ends with `NoSuchFieldException: loadedLibraryNames`,
which hides what the loader said. So the loader is asked before Flink starts.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

from find_libpython import find_libpython

from schemas.errors import MillraceError, ThreadModeError

HIDDEN_CAUSE = "loadedLibraryNames"
"""The field that pemja looks for in the JVM when the loader has refused a library, and does not find."""

ON_A_TASK_MANAGER = (
    "a task manager could not load thread mode's libraries: either Python's shared library is missing on "
    "its machine (`python -m jobs.thread_mode` there says so, with the remedy), or flink-python is not in "
    "Flink's lib/ with `classloader.parent-first-patterns.additional: pemja.`, and this is not its first job"
)
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_REMEDY = (
    f"install it (Debian: apt-get install libpython{_VERSION}; a Python built by hand: configure it with "
    "--enable-shared) or run the job with --mode process"
)
_REINSTALL = (
    "install the locked packages anew (remove .venv, run scripts/setup) or run the job with --mode process"
)


def check_thread_mode() -> None:
    """Load what Flink's JVM loads in thread mode. Raises `ThreadModeError` with what is missing."""
    core, python = _pemja_core(), sys.executable
    if core is None:
        raise ThreadModeError(
            f"thread mode needs the package pemja, and {python} has none for Python {_VERSION}: {_REINSTALL}"
        )
    # pemja asks the same package in the same interpreter.
    library = find_libpython()
    if library is None:
        raise ThreadModeError(
            f"thread mode needs Python's shared library, and there is no libpython{_VERSION}.so for "
            f"{python}: {_REMEDY}"
        )
    _load(library, "Py_IsInitialized", f"Python's shared library for {python}", _REMEDY)
    _load(core, "JNI_OnLoad", "pemja's library", _REINSTALL)


def _pemja_core() -> str | None:
    spec = importlib.util.find_spec("pemja")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob(f"pemja_core.cpython-{_VERSION.replace('.', '')}*.so"))
    return str(found[0]) if found else None


def _load(path: str, symbol: str, what: str, remedy: str) -> None:
    """Have the loader load a library, as the JVM has it. Raises `ThreadModeError` with its answer."""
    try:
        # Lazily: one of pemja's symbols is the JVM's own.
        library = ctypes.CDLL(path, mode=os.RTLD_LAZY | os.RTLD_LOCAL)
        getattr(library, symbol)
    except (OSError, AttributeError) as e:
        raise ThreadModeError(
            f"thread mode needs {what}, and the loader refuses {path} ({e}): {remedy}"
        ) from None


if __name__ == "__main__":
    try:
        check_thread_mode()
    except MillraceError as problem:
        sys.exit(str(problem))
