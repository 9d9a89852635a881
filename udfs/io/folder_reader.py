"""Reading a folder that grows, from where one stopped: lines in blocks, or whole files once each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, MutableMapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from schemas.block import Block

Positions = MutableMapping[str, tuple[int, int]]
"""File, relative to the folder -> bytes read, lines read."""

_CHUNK = 1 << 22


def visible_files(folder: Path, suffix: str = "") -> list[Path]:
    """The files in and below a folder in the order of their paths; hidden ones are still being written."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "_")))
        found += [Path(root, f) for f in files if f.endswith(suffix) and not f.startswith((".", "_"))]
    return sorted(found)


def blocks(
    folder: Path, positions: Positions, *, max_records: int, now: Callable[[], int], at_end: bool
) -> Iterator[Block]:
    """The lines added since `positions`, which is brought up to date block by block.

    `folder/DATA_TYPE/...` holds files of one record a line. A record's identity is its file (the block's
    source) and the number of its line; its event time is when it was read (`now`, epoch ms). A last line
    without its newline is left for later, unless `at_end`.
    """
    for path in visible_files(folder):
        relative = path.relative_to(folder).as_posix()
        if "/" not in relative:
            continue
        done, line = positions.get(relative, (0, 0))
        if path.stat().st_size <= done:
            continue
        with path.open("rb") as file:
            file.seek(done)
            while lines := list(islice(_lines(file, at_end), max_records)):
                count = len(lines)
                payloads = [text.rstrip(b"\r\n") for text in lines]
                done += sum(map(len, lines))
                positions[relative] = (done, line + count)
                yield Block(
                    relative.split("/", 1)[0],
                    relative,
                    payloads,
                    [0] * count,
                    list(range(line, line + count)),
                    [now()] * count,
                )
                line += count


def new_files(folder: Path, positions: Positions, suffix: str) -> Iterator[bytes]:
    """The contents of files that `positions` does not list yet, each once."""
    for path in visible_files(folder, suffix):
        relative = path.relative_to(folder).as_posix()
        if relative not in positions:
            content = path.read_bytes()
            positions[relative] = (len(content), 1)
            yield content


def _lines(file: BinaryIO, at_end: bool) -> Iterator[bytes]:
    while line := file.readline():
        if not line.endswith(b"\n") and not at_end:
            file.seek(-len(line), os.SEEK_CUR)
            return
        yield line
