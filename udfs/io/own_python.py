"""The Python that runs this code, as a program of its own."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

NAMES = (f"python{sys.version_info.major}.{sys.version_info.minor}", "python3", "python")


def own_python(environment: Mapping[str, str] | None = None) -> str | None:
    """Its path; None where there is none.

    Where the interpreter is embedded (Flink's thread mode), `sys.executable` is Java, or nothing: then it is
    that of the virtual environment, else the first `python` of the `PATH`, which is also what the JVM found
    the interpreter by.
    """
    environment = os.environ if environment is None else environment
    if Path(sys.executable or "").name.startswith("python"):
        return sys.executable
    roots = [environment.get("VIRTUAL_ENV", ""), sys.prefix, sysconfig.get_config_var("prefix") or ""]
    for root in filter(None, roots):
        for name in NAMES:
            if os.access(found := os.path.join(root, "bin", name), os.X_OK):
                return found
    for name in ("python", *NAMES):
        if (on_path := shutil.which(name, path=environment.get("PATH"))) is not None:
            return on_path
    return None
