"""Files that jobs write into folders, or read from them."""

from __future__ import annotations

import os
from pathlib import Path


def visible_files(folder: Path) -> list[Path]:
    """The files in and below a folder in the order of their paths; hidden ones are still being written."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "_")))
        found += [Path(root, f) for f in files if not f.startswith((".", "_"))]
    return sorted(found)
