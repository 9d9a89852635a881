"""Dead letters of a folder, and their records back to the folder that the job reads, each once.

Records go into one new file a data type. Beside it lies a hidden file with their identities; it counts where
the records' file has appeared, so that a run that ends in the middle has sent all records of a type or none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from millrace import folder_stream
from millrace.replaying import NotWholeError, Original, identity_of
from schemas.errors import SourceError
from schemas.results.records import DeadLetter

_NOTED, _TRIED = ".sent", ".trying"


@dataclass(frozen=True, slots=True)
class ReplayFolders:
    """`letters`: the folder of dead letters; `records`: the one that the job reads, with a folder a type."""

    letters: Path
    records: Path

    def lines(self) -> Iterator[bytes]:
        """Every dead letter that there is now. Raises `SourceError`."""
        return folder_stream.lines(self.letters)

    def sent_before(self) -> set[str]:
        """Identities of what earlier runs sent."""
        found: set[str] = set()
        for path in sorted(self.records.glob(f"*/.*{_NOTED}")):
            found |= _identities(path)
        for path in sorted(self.records.glob(f"*/.*{_TRIED}")):
            if _records_of(path).exists():  # the run ended between the two files
                found |= _identities(path)
        return found

    def whole(self, letter: DeadLetter) -> Original:
        """The line that the letter is about, from its file. Raises `NotWholeError` where it is not there."""
        path = self.records / letter.source
        where = identity_of(letter)
        if not path.resolve().is_relative_to(self.records.resolve()):
            raise NotWholeError(f"{where} is no longer in its folder")
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file):
                    if number == letter.offset:
                        text = line.rstrip(b"\n").removesuffix(b"\r")
                        if len(text) != letter.size:
                            break
                        return Original(where, letter.source, 0, text, None, (), letter.event_time)
        except OSError:
            raise NotWholeError(f"{where} is no longer in its folder") from None
        raise NotWholeError(f"what is at {where} now is another record")

    def refused(self, records: Sequence[Original]) -> dict[str, str]:
        """The identities of those that cannot be sent, with the reason.

        A letter may name any folder: only one that is there, right in `records`, is written to.
        """
        there = {path.name for path in self.records.glob("*/")}
        refused = {r.identity: "there is no folder of its type" for r in records if _type_of(r) not in there}
        return refused | {r.identity: "a line of a file cannot hold it" for r in records if not _is_line(r)}

    def send(self, records: Sequence[Original]) -> dict[str, str]:
        """Send all that can be; those that are `refused`. Raises `SourceError`."""
        refused = self.refused(records)
        kept = sorted((r for r in records if r.identity not in refused), key=_type_of)
        now = time.time_ns()
        for data_type, group in groupby(kept, key=_type_of):
            self._write(self.records / data_type, f"replayed-{now}.jsonl", list(group))
        return refused

    def _write(self, folder: Path, name: str, records: Sequence[Original]) -> None:
        target, tried = folder / name, folder / f".{name}{_TRIED}"
        try:
            _whole_file(tried, (r.identity.encode() for r in records))
            hidden = folder / f".{name}.tmp"
            _whole_file(hidden, (r.payload or b"" for r in records))
            hidden.rename(target)
            tried.rename(folder / f".{name}{_NOTED}")
        except OSError as e:
            raise SourceError(f"records could not be written to {folder}: {e}") from e


def _whole_file(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("xb") as out:
        out.writelines(line + b"\n" for line in lines)
        out.flush()
        os.fsync(out.fileno())


def _identities(path: Path) -> set[str]:
    """Those in a file beside records; as bytes, since to text a carriage return in a name ends a line too."""
    return set(path.read_bytes().decode().split("\n"))


def _records_of(tried: Path) -> Path:
    return tried.with_name(tried.name.removeprefix(".").removesuffix(_TRIED))


def _type_of(record: Original) -> str:
    """The folder of the record's type: the first part of its file's path."""
    return record.source.split("/", 1)[0]


def _is_line(record: Original) -> bool:
    payload = record.payload
    return (
        payload is not None and b"\n" not in payload and not payload.endswith(b"\r") and "/" in record.source
    )
