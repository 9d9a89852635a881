"""Which Python starts the processes of models, and with what of the environment."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import SandboxError

_KEPT = ("PATH", "JAVA_HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_QUIET = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def python_executable(environment: Mapping[str, str] | None = None) -> str:
    """The Python that runs this code, as a program of its own.

    Where the interpreter is embedded (Flink's thread mode), `sys.executable` is Java, or nothing: then it is
    that of the virtual environment, else the first `python` of the `PATH`, which is also what the JVM found
    the interpreter by. Raises `SandboxError` where there is none.
    """
    environment = os.environ if environment is None else environment
    names = (f"python{sys.version_info.major}.{sys.version_info.minor}", "python3", "python")
    if Path(sys.executable or "").name.startswith("python"):
        return sys.executable
    roots = [environment.get("VIRTUAL_ENV", ""), sys.prefix, sysconfig.get_config_var("prefix") or ""]
    for root in filter(None, roots):
        for name in names:
            if os.access(found := os.path.join(root, "bin", name), os.X_OK):
                return found
    for name in ("python", *names):
        if (on_path := shutil.which(name, path=environment.get("PATH"))) is not None:
            return on_path
    raise SandboxError(
        f"models are checked in a process of their own, and there is no {names[0]} to start one: neither in "
        f"VIRTUAL_ENV nor in {sys.prefix}/bin nor on the PATH"
    )


def clean_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the process gets of ours: nothing that may hold a secret, and this process's module path."""
    environment = os.environ if environment is None else environment
    kept = {name: environment[name] for name in _KEPT if name in environment}
    kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    return kept | _QUIET
