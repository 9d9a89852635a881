"""Which entities a stream cannot agree with batch about: those with events that it refused as late."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

from schemas.codecs.json_text import parse_json
from schemas.results.records import DeadLetter, decode
from udfs.features.base import Entity
from udfs.io.folder_files import visible_files


def late_references(letters: Path, view: str) -> int:
    """How many rows of references came after rows of `view` that they might have changed. Raises as
    `late_entities` does."""
    return sum(one.data_type == view and one.code == "late_reference" for one in _read(letters))


def late_entities(letters: Path, view: str, entity: Sequence[str]) -> set[Entity]:
    """From dead letters, one a line, in a file or a folder. Raises `ValueError` for what is none."""
    found = set()
    for letter in _read(letters):
        if letter.data_type == view and letter.code == "late" and letter.raw:
            event = parse_json(base64.b64decode(letter.raw))
            found.add(tuple(event[name] for name in entity))
    return found


def _read(letters: Path) -> Iterator[DeadLetter]:
    for file in [letters] if letters.is_file() else visible_files(letters):
        for line in file.read_bytes().splitlines():
            yield decode(DeadLetter, line)
