"""Where modules are found that a task manager imports after the job that brought their packages has ended.

In thread mode a task manager keeps the modules of its first job, and Flink removes the folder in which that
job's code came (`flink run -pyfs`). What was not imported until then would not be found any more, or in
another installation, though the next job brings the same code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator


class CodePath(list[str]):
    """The `__path__` of a package: its own folders, or where those are gone the package's on `sys.path`."""

    def __init__(self, package: str, own: Iterable[str]) -> None:
        super().__init__(own)
        self._below = package.split(".")

    def __iter__(self) -> Iterator[str]:
        own = [folder for folder in super().__iter__() if os.path.isdir(folder)]
        return iter(own or list(filter(os.path.isdir, (os.path.join(p, *self._below) for p in sys.path))))


def follow_code(packages: Iterable[str]) -> None:
    """Let the packages of these names that are loaded, and those below them, find modules in this way."""
    names = tuple(packages)
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__path__", None)
        if name.split(".")[0] in names and path is not None and not isinstance(path, CodePath):
            module.__path__ = CodePath(name, path)
