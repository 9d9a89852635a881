"""A folder that grows is read once, line by line, from where one stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from udfs.io.folder_reader import Positions, blocks, new_files, visible_files


def read(folder: Path, positions: Positions, *, most: int = 100, at_end: bool = False):
    return list(blocks(folder, positions, max_records=most, now=lambda: 42, at_end=at_end))


def write(path: Path, content: bytes, mode: str = "wb") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as file:
        file.write(content)


def test_lines_become_blocks_with_identities(tmp_path: Path):
    write(tmp_path / "wine" / "a.jsonl", b"1\n2\r\n3\n")
    positions: Positions = {}
    first, second = read(tmp_path, positions, most=2)
    assert (first.data_type, first.source) == ("wine", "wine/a.jsonl")
    assert (first.payloads, first.offsets, first.partitions) == ([b"1", b"2"], [0, 1], [0, 0])
    assert (second.payloads, second.offsets, second.event_times) == ([b"3"], [2], [42])
    assert positions == {"wine/a.jsonl": (7, 3)}
    assert read(tmp_path, positions) == []


def test_a_growing_file_gives_only_what_is_new(tmp_path: Path):
    path, positions = tmp_path / "t" / "a", {}
    write(path, b"1\n2")
    assert [b.payloads for b in read(tmp_path, positions)] == [[b"1"]]
    assert positions == {"t/a": (2, 1)}
    write(path, b"2\n3", "ab")
    assert [(b.payloads, b.offsets) for b in read(tmp_path, positions)] == [([b"22"], [1])]
    assert read(tmp_path, positions) == []
    assert [(b.payloads, b.offsets) for b in read(tmp_path, positions, at_end=True)] == [([b"3"], [2])]
    assert positions == {"t/a": (6, 3)}


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_stopping_after_any_block_loses_and_repeats_nothing(tmp_path: Path, most: int):
    write(tmp_path / "t" / "a", b"".join(b"%d\n" % n for n in range(7)))
    write(tmp_path / "t" / "sub" / "b", b"7\n8\n")
    positions: Positions = {}
    found: list[bytes] = []
    while True:
        block = next(blocks(tmp_path, positions, max_records=most, now=lambda: 0, at_end=False), None)
        if block is None:
            break
        found += block.payloads
        positions = dict(positions)
    assert found == [b"%d" % n for n in range(9)]


def test_types_are_folders_and_hidden_names_are_still_being_written(tmp_path: Path):
    for name in ("t/a", "u/b", "u/2/c", ".hidden/d", "_tmp/e", "t/.f", "t/_g", "beside"):
        write(tmp_path / name, b"x\n")
    assert [(b.data_type, b.source) for b in read(tmp_path, {})] == [
        ("t", "t/a"),
        ("u", "u/2/c"),
        ("u", "u/b"),
    ]


def test_an_empty_line_is_a_record_of_no_bytes(tmp_path: Path):
    write(tmp_path / "t" / "a", b"1\n\n2\n")
    assert [b.payloads for b in read(tmp_path, {})] == [[b"1", b"", b"2"]]


def test_whole_files_come_once_in_order(tmp_path: Path):
    for name in ("b.model", "a.model", "c.other", ".d.model"):
        write(tmp_path / name, name.encode())
    positions: Positions = {}
    assert list(new_files(tmp_path, positions, ".model")) == [b"a.model", b"b.model"]
    write(tmp_path / "0.model", b"late")
    assert list(new_files(tmp_path, positions, ".model")) == [b"late"]
    assert list(new_files(tmp_path, positions, ".model")) == []
    assert [p.name for p in visible_files(tmp_path)] == ["0.model", "a.model", "b.model", "c.other"]
