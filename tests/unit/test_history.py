"""History as lines and as files: every value comes through, old files stay readable, differences show."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StoreError
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import ARROW
from schemas.results.records import DeadLetter, encode
from tests.feature_streams import declare, events, write_history
from udfs.io.s3 import S3Options
from udfs.stores.history.compute import compute_rows
from udfs.stores.history.consistency import compare_history, compare_online, rows_of
from udfs.stores.history.files import by_row_group, check_schema, find_files, parquet_file, read_rows
from udfs.stores.history.late import late_entities, late_references
from udfs.stores.history.lines import BLANK, FIELD, HEX, to_lines
from udfs.stores.online.base import Found, State, StoredView
from udfs.stores.stored_views import stored_views

S3 = S3Options()
texts = st.text(max_size=4) | st.sampled_from(["", HEX, BLANK, FIELD, "\n", '"', "\r\n", "\x1d\x1c", ","])
texts = texts.filter(lambda t: t.isprintable() or not any(0xD800 <= ord(c) < 0xE000 for c in t))
VALUES: dict[FeatureType, Any] = {
    FeatureType.INT64: st.integers(-(2**63), 2**63 - 1),
    FeatureType.FLOAT64: st.floats(),
    FeatureType.BOOL: st.booleans(),
    FeatureType.STRING: texts,
    FeatureType.INT64_LIST: st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    FeatureType.FLOAT64_LIST: st.lists(st.floats(), max_size=3),
    FeatureType.STRING_LIST: st.lists(texts, max_size=3),
}


def taken_apart(field: str, kind: FeatureType) -> Any:
    """What `operators.sinks.history_sink` does in SQL."""
    if field == "":
        return None
    if kind is FeatureType.STRING or kind.endswith("_list"):
        if field.startswith(HEX):
            field = bytes.fromhex(field[1:]).decode()
        if kind is FeatureType.STRING:
            return field
        if field == BLANK and kind is FeatureType.STRING_LIST:
            return [""]
        items = field[1:].split(field[0]) if field[1:] else []
        read = {FeatureType.INT64_LIST: int, FeatureType.FLOAT64_LIST: float}.get(kind, str)
        return [read(item) for item in items]
    if kind is FeatureType.BOOL:
        return {"true": True, "false": False}[field]
    return int(field) if kind is FeatureType.INT64 else float(field)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or a.hex() == b.hex()
    return type(a) is type(b) and a == b


@given(
    st.lists(
        st.fixed_dictionaries({k.value: st.none() | v for k, v in VALUES.items()}), min_size=1, max_size=5
    )
)
def test_lines_hold_every_value(rows: list[dict[str, Any]]) -> None:
    schema = pa.schema([(kind.value, ARROW[kind]) for kind in VALUES])
    lines = to_lines(pa.RecordBatch.from_pylist(rows, schema=schema)).decode().split("\n")
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        fields = line.split(FIELD)
        for field, kind in zip(fields, VALUES, strict=True):
            assert same(taken_apart(field, kind), row[kind.value]), (field, row[kind.value])


TYPES = {"k": FeatureType.STRING, "n": FeatureType.INT64}


def write(folder: Path, name: str, **columns: pa.Array) -> None:
    times = pa.array([1000], pa.timestamp("ms"))
    (folder / "v_v1" / "dt=1970-01-01").mkdir(parents=True, exist_ok=True)
    table = pa.table({**columns, "event_timestamp": times, "created": times})
    pq.write_table(table, folder / "v_v1" / "dt=1970-01-01" / name)


def test_a_new_feature_is_null_in_old_files(tmp_path: Path) -> None:
    write(tmp_path, "a", k=pa.array(["x"]), n=pa.array([1]))
    write(tmp_path, "b", k=pa.array(["y"]), n=pa.array([2]), fresh=pa.array([0.5]))
    write(tmp_path, ".hidden", k=pa.array(["z"]), n=pa.array([3]))
    (tmp_path / "v_v1" / "_SUCCESS").write_bytes(b"")
    types = TYPES | {"fresh": FeatureType.FLOAT64}
    check_schema(str(tmp_path), "v_v1", types, S3)
    rows = [row for batch in read_rows(str(tmp_path / "v_v1"), types, S3) for row in batch.to_pylist()]
    assert [(r["k"], r["n"], r["fresh"], r["event_timestamp"]) for r in rows] == [
        ("x", 1, None, 1000),
        ("y", 2, 0.5, 1000),
    ]


def test_another_type_is_refused_in_a_sentence(tmp_path: Path) -> None:
    check_schema(str(tmp_path), "v_v1", TYPES, S3)  # nothing is there yet
    write(tmp_path, "a", k=pa.array(["x"]), n=pa.array([1.5]))
    with pytest.raises(StoreError, match="column n is double, but int64 is declared"):
        check_schema(str(tmp_path), "v_v1", TYPES, S3)
    (tmp_path / "v_v1" / "b").write_bytes(b"no parquet")
    with pytest.raises(StoreError, match="cannot be read"):
        list(read_rows(str(tmp_path / "v_v1" / "b"), TYPES, S3))


def test_files_are_found_by_folder_glob_and_name(tmp_path: Path) -> None:
    for name in ("a/1.parquet", "a/2.parquet", "b/3.parquet", "b/.4.parquet", "b/5.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = {
        where: [p.removeprefix(f"{tmp_path}/") for p in find_files(f"{tmp_path}/{where}", S3)]
        for where in ("a", "*/*.parquet", "a/1.parquet", "nowhere", "no/*.parquet")
    }
    assert found == {
        "a": ["a/1.parquet", "a/2.parquet"],
        "*/*.parquet": ["a/1.parquet", "a/2.parquet", "b/3.parquet"],
        "a/1.parquet": ["a/1.parquet"],
        "nowhere": [],
        "no/*.parquet": [],
    }


def test_computed_from_files_in_any_order(tmp_path: Path) -> None:
    sent = events(2000, 1_700_000_000_000, 50, accounts=20)
    found = []
    for files, written in ((1, sent), (4, [*sent[:100], *reversed(sent)])):
        folder = tmp_path / str(files)
        write_history(written, str(folder), S3, files)
        declared = declare(tmp_path / f"{files}.toml", history=str(folder))
        stored = stored_views(declared, "history")
        found.append(
            {
                v.id: sorted(rows_of(compute_rows(declared, v, S3), stored[v.id]), key=repr)
                for v in declared.views
            }
        )
    assert found[0] == found[1]
    assert len(found[0]["spend_v1"]) == len(found[0]["peak_v1"]) == 2000 and found[0]["busy_v1"]


VIEW = StoredView("v_v1", (("k", FeatureType.STRING),), (("x", FeatureType.FLOAT64),), 1000)
COMPUTED = [("a", 0.1, 10), ("a", 0.2, 20), ("b", 0.0, 20), ("c", 1.0, 30), ("d", None, 10)]


def test_differences_of_history_are_counted() -> None:
    stored = [("a", 0.1, 10), ("a", 0.20000000000000004, 20), ("b", -0.0, 20), ("e", 1.0, 5)]
    found = compare_history(COMPUTED, stored, VIEW, set())
    counts = (found.equal, found.mismatched, found.missing, found.extra, found.late)
    assert counts == (1, 2, 1, 1, 0) and not found.consistent and len(found.examples) == 4
    apart = compare_history(COMPUTED, stored, VIEW, {("a",), ("b",), ("d",), ("e",)})
    assert (apart.equal, apart.late, apart.consistent) == (0, 8, True)
    assert compare_history(COMPUTED, COMPUTED, VIEW, set()).equal == 5
    assert compare_history(COMPUTED, [], VIEW, set()).consistent


class Online:
    """A reader of what it was given."""

    def __init__(self, **served: Found) -> None:
        self._served = served

    def read(self, wanted: Any, entities: Any, now: int) -> list[list[Found]]:
        assert wanted == [("v_v1", ["x"])]
        return [[self._served.get(k, Found(State.MISSING, 0, (None,))) for (k,) in entities[0]]]

    def close(self) -> None: ...


def test_differences_of_what_is_served_are_counted() -> None:
    online = Online(
        a=Found(State.PRESENT, 20, (0.2,)),
        b=Found(State.PRESENT, 20, (0.5,)),
        c=Found(State.PRESENT, 31, (9.0,)),
    )
    found = compare_online(COMPUTED, VIEW, online, set(), now=100, sample=10)
    assert (found.equal, found.mismatched, found.missing, found.newer) == (1, 1, 1, 1)
    later = compare_online(COMPUTED, VIEW, Online(), {("a",)}, now=1025, sample=10)
    assert (later.late, later.missing, later.expired) == (1, 1, 2)
    assert compare_online(COMPUTED, VIEW, online, set(), now=100, sample=2).equal <= 2


def test_who_has_late_events(tmp_path: Path) -> None:
    def letter(view: str, code: str, key: str) -> bytes:
        raw = base64.b64encode(orjson.dumps({"k": key, "__event_id": "1"})).decode()
        return encode(DeadLetter(view, "s", 0, 0, 0, code, "", raw, 1))

    lines = [letter("v_v1", "late", "a"), letter("v_v1", "duplicate", "b"), letter("w_v1", "late", "c")]
    (tmp_path / "letters").write_bytes(b"\n".join(lines))
    assert (
        late_entities(tmp_path, "v_v1", ("k",))
        == {("a",)}
        == late_entities(tmp_path / "letters", "v_v1", ("k",))
    )
    (tmp_path / "letters").write_bytes(b"\n".join([*lines, letter("v_v1", "late_reference", "d")]))
    assert late_references(tmp_path, "v_v1") == 1 and late_references(tmp_path, "w_v1") == 0
    assert late_entities(tmp_path, "v_v1", ("k",)) == {("a",)}


class CountedReads(io.FileIO):
    """What a store would be asked."""

    number = 0

    def read(self, size: int = -1, /) -> bytes:
        self.number += 1
        return super().read(size) or b""


def test_the_columns_of_a_row_group_are_one_request(tmp_path: Path) -> None:
    table = pa.table({f"c{n}": list(range(4000)) for n in range(20)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1000)
    opened = CountedReads(tmp_path / "x.parquet")
    file = parquet_file(pa.PythonFile(opened, mode="r"))
    footer = opened.number
    rows = list(by_row_group(file, [f"c{n}" for n in range(10)]))
    assert pa.Table.from_batches(rows) == table.select(range(10))
    assert opened.number - footer == 4
