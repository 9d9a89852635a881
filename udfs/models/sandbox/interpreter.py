"""Which Python starts the processes of models, and with what of the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from schemas.errors import SandboxError
from udfs.io.own_python import NAMES, own_python

_KEPT = ("PATH", "JAVA_HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_QUIET = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def python_executable(environment: Mapping[str, str] | None = None) -> str:
    """The Python that runs this code. Raises `SandboxError` where there is none."""
    if (found := own_python(environment)) is not None:
        return found
    raise SandboxError(
        f"models are checked in a process of their own, and there is no {NAMES[0]} to start one: neither in "
        f"VIRTUAL_ENV nor in {sys.prefix}/bin nor on the PATH"
    )


def clean_environment() -> dict[str, str]:
    """What the process gets of ours: nothing that may hold a secret, and this process's module path."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    return kept | _QUIET
