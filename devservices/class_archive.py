"""Flink's classes as a JVM has read and checked them once, for those that start later.

The JDK's class data sharing (JEP 350). A JVM of Flink reads some ten thousand classes before it does
anything: with an archive of them a submission takes a quarter less processor time, and so does a task manager
up to its first result.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from devservices.process import ROOT

FOLDER = ROOT / ".cache" / "classes"


class ClassArchive:
    """Of one program's classes on one class path: one that ends in order writes it, later ones read it."""

    _numbers = itertools.count()

    def __init__(self, program: str, jars: Sequence[Path]) -> None:
        seen = [(str(jar), jar.stat().st_size, jar.stat().st_mtime_ns) for jar in jars]
        digest = hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
        self.program = program
        self.file = FOLDER / f"{program}-{digest}.jsa"
        self._parts: list[Path] = []

    def options(self) -> list[str]:
        """Of a JVM that reads the archive, or of one that writes it when it ends, where there is none."""
        if self.file.exists():
            return [f"-XX:SharedArchiveFile={self.file}"]
        FOLDER.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(f".{os.getpid()}-{next(self._numbers)}")
        self._parts.append(part)  # each its own: which of them will be killed is not known
        return [f"-XX:ArchiveClassesAtExit={part}"]

    def ended(self, *, well: bool = True) -> None:
        """Call it when those that write have ended, `well` or before they did what they were started for."""
        while self._parts:
            part = self._parts.pop()
            if well and _is_whole(part) and not self.file.exists():
                for old in FOLDER.glob(f"{self.program}-*.jsa"):  # of other jars, tens of megabytes
                    old.unlink(missing_ok=True)
                part.rename(self.file)
            part.unlink(missing_ok=True)


def _is_whole(part: Path) -> bool:
    """Its header comes last: of a JVM that was killed over it, it has none."""
    if not part.exists():
        return False
    with part.open("rb") as written:
        return any(written.read(4))
