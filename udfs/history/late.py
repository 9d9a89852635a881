"""Which entities a stream cannot agree with batch about: those with events that it refused as late."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import orjson

from schemas.records import DeadLetter, decode
from udfs.features.base import Entity
from udfs.folder_reader import visible_files


def late_entities(letters: Path, view: str, entity: Sequence[str]) -> set[Entity]:
    """From dead letters, one a line, in a file or a folder. Raises `ValueError` for what is none."""
    found = set()
    for file in [letters] if letters.is_file() else visible_files(letters):
        for line in file.read_bytes().splitlines():
            letter = decode(DeadLetter, line)
            if letter.data_type == view and letter.code == "late" and letter.raw:
                event = orjson.loads(base64.b64decode(letter.raw))
                found.add(tuple(event[name] for name in entity))
    return found
