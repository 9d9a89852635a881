"""Known holes of Python releases in what this project reads strangers' bytes with.

To add one, add a line to `HOLES`: the advisory, the releases that mend it, and what it lets in. `bounded_by`
names the part of this project that keeps such input away from the hole; with one, a release with the hole is
taken. Distributions mend older releases (Debian 12 its 3.11.2): so `is_mended` asks the interpreter itself.
"""

from __future__ import annotations

import pyexpat
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from schemas.errors import SettingsError

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Hole:
    """`fixed`: by minor version the first release without the hole, e.g. 11 -> (3, 11, 8). `is_mended`:
    whether this interpreter, of an earlier release, has been mended."""

    advisory: str
    what: str
    fixed: dict[int, Version]
    bounded_by: str = ""
    is_mended: Callable[[], bool] = lambda: False

    def is_in(self, version: Version) -> bool:
        """Whether a release has the hole. Minor versions that are not listed are not known to have it."""
        mended = self.fixed.get(version[1])
        return version[0] == 3 and mended is not None and version < mended


HOLES = (
    Hole(
        "CVE-2023-24329",
        "urllib.parse: a blank before a location hides its scheme from a check",
        {11: (3, 11, 4)},
        is_mended=lambda: urlsplit(" https://host").scheme == "https",
    ),
    Hole(
        "CVE-2023-40217",
        "ssl: what was sent before the handshake is read as if it came after it",
        {11: (3, 11, 5), 12: (3, 12, 0)},
        # what mends it keeps what came too early in a variable of this name
        is_mended=lambda: "notconn_pre_handshake_data" in ssl.SSLSocket._create.__code__.co_varnames,  # type: ignore[attr-defined]
    ),
    Hole(
        "CVE-2023-52425",
        "expat: a long attribute or comment that comes in pieces takes time quadratic in its length",
        {11: (3, 11, 9), 12: (3, 12, 3)},
        bounded_by="udfs.models.runtimes.pmml.document gives expat a document at once",
        is_mended=lambda: pyexpat.version_info >= (2, 6, 0),
    ),
    Hole(
        "CVE-2024-0450",
        "zipfile: entries that overlap unpack to far more than the archive holds",
        {11: (3, 11, 8), 12: (3, 12, 2)},
        bounded_by="udfs.models.runtimes.archive counts what is written",
    ),
    Hole(
        "CVE-2024-6232",
        "tarfile: a header takes time quadratic in its length",
        {11: (3, 11, 10), 12: (3, 12, 6)},
        bounded_by="udfs.models.runtimes.tar_entries reads tars, tarfile does not",
    ),
    Hole(
        "CVE-2025-8194",
        "tarfile: a negative size is read for ever",
        {11: (3, 11, 14), 12: (3, 12, 12), 13: (3, 13, 6)},
        bounded_by="udfs.models.runtimes.tar_entries reads tars, tarfile does not",
    ),
)


def check_python(version: Version | None = None, holes: tuple[Hole, ...] = HOLES) -> None:
    """Raise `SettingsError` where `version` (this interpreter's) has a hole that nothing bounds."""
    here: Version = version or sys.version_info[:3]
    open_ = [hole for hole in holes if not hole.bounded_by and hole.is_in(here) and not hole.is_mended()]
    if open_:
        said = "; ".join(f"{hole.advisory} ({hole.what})" for hole in open_)
        newest = max(hole.fixed[here[1]] for hole in open_)
        raise SettingsError(
            f"Python {'.'.join(map(str, here))} has known holes in what reads records and models: {said}. "
            f"Use Python {'.'.join(map(str, newest))} or newer"
        )
