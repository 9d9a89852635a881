"""What Java bounds before anything comes to Python: lines of files, and names that headers give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyflink.java_gateway import get_gateway

from operators.environment import FlinkSpec, make_environment
from operators.flink_internals import own_class
from schemas.names import LONGEST_NAME
from tests.operators.test_uids import JARS

MOST = 16 << 20


@pytest.fixture
def java() -> Any:
    make_environment(FlinkSpec(jars=JARS, parallelism=1))
    return get_gateway().jvm


def batches(java: Any, file: Path) -> list[list[int]]:
    """The sizes of the records of a file, as they come together."""
    path = java.org.apache.flink.core.fs.Path(file.as_uri())
    size = file.stat().st_size
    split = java.org.apache.flink.connector.file.src.FileSourceSplit("0", path, 0, size, 0, size)
    lines = own_class("FolderRecords")(file.parent.as_uri(), False)
    reader = lines.createReader(java.org.apache.flink.configuration.Configuration(), split)
    found = []
    while (batch := reader.readBatch()) is not None:
        found.append([])
        while (record := batch.next()) is not None:
            found[-1].append(record.getRecord().serializedValueSize())
    reader.close()
    return found


def test_many_long_lines_come_in_several_goes(java: Any, tmp_path: Path) -> None:
    """All of them were in memory at once, more than a task manager has."""
    (tmp_path / "a.jsonl").write_bytes((b"x" * 1_000_000 + b"\n") * 12)
    found = batches(java, tmp_path / "a.jsonl")
    assert found == [[1_000_000] * 5, [1_000_000] * 5, [1_000_000] * 2]


def test_a_line_without_end_is_cut_and_what_follows_is_read(java: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"y" * (MOST + 5) + b"\nlast\r\n")
    assert batches(java, tmp_path / "a.jsonl") == [[MOST], [4]]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"wine", "wine"),
        (b"w" * 70_000, "w" * (LONGEST_NAME + 1)),
        ("\U0001f347".encode() * 300, "\U0001f347" * (LONGEST_NAME + 1)),
        ("\U0001f347".encode() * LONGEST_NAME, "\U0001f347" * LONGEST_NAME),
        (b"w" * LONGEST_NAME + "\U0001f347".encode() * 300, "w" * LONGEST_NAME + "\U0001f347"),
        (b"", ""),
    ],
)
def test_a_header_names_a_data_type_no_longer_than_any_is(java: Any, header: bytes, name: str) -> None:
    """Beyond 65,535 bytes its length was another one in the micro-batch, which then could not be read."""
    kind = own_class("ToKafka")().getClass().getClassLoader().loadClass("millrace.MicroBatcher")
    method = next(one for one in kind.getDeclaredMethods() if one.getName() == "nameIn")
    method.setAccessible(True)
    arguments = get_gateway().new_array(java.java.lang.Object, 1)
    arguments[0] = header
    found = method.invoke(None, arguments)
    assert found.startswith(name) and len(found) <= LONGEST_NAME + 1
