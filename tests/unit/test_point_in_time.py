"""The point-in-time join against a plain search, over histories of any shape; and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from schemas.errors import FeatureError
from schemas.features.declarations import FeatureType
from tests.point_in_time import DuckPointInTime
from udfs.stores.online.base import StoredView
from udfs.stores.training.base import WantedFeatures

DAY = 86_400_000
VIEW = StoredView(
    "sales_v1",
    (("shop", FeatureType.STRING), ("till", FeatureType.INT64)),
    (("sum", FeatureType.FLOAT64), ("last", FeatureType.INT64_LIST), ("seen", FeatureType.TIMESTAMP)),
    50,
)
HISTORY = pa.schema(
    [
        ("shop", pa.string()),
        ("till", pa.int64()),
        ("sum", pa.float64()),
        ("last", pa.list_(pa.int64())),
        ("seen", pa.timestamp("ms", "UTC")),
        ("event_timestamp", pa.timestamp("ms", "UTC")),
        ("created", pa.timestamp("ms", "UTC")),
    ]
)
LABELS = pa.schema(
    [
        ("till", pa.int64()),
        ("shop", pa.string()),
        ("at", pa.timestamp("ms", "UTC")),
        ("known", pa.timestamp("ms", "UTC")),
        ("y", pa.bool_()),
    ]
)

keys = st.tuples(st.sampled_from("ab"), st.integers(1, 2))
times = st.integers(0, 120)
histories = st.lists(
    st.tuples(keys, times, times, st.none() | st.integers(0, 9)), max_size=30, unique_by=lambda r: r[:3]
)
labels = st.lists(st.tuples(keys, st.none() | times, times), max_size=12)


def history_table(rows: Any) -> pa.Table:
    plain = [
        {
            "shop": shop,
            "till": till,
            "sum": value,
            "last": None if value is None else [value, value + 1],
            "seen": value,
            "event_timestamp": at,
            "created": created,
        }
        for (shop, till), at, created, value in rows
    ]
    return pa.Table.from_pylist(plain, schema=HISTORY)


def label_table(rows: Any) -> pa.Table:
    plain = [{"till": t, "shop": s, "at": at, "known": known, "y": True} for (s, t), at, known in rows]
    return pa.Table.from_pylist(plain, schema=LABELS)


def wanted(history: object, **more: Any) -> WantedFeatures:
    return WantedFeatures(VIEW, ("sum", "last", "seen"), ("shop", "till"), str(history), **more)


def searched(history: Any, key: Any, at: int | None, known: int | None) -> tuple[Any, ...]:
    seen = [
        (event, created, value)
        for k, event, created, value in history
        if at is not None and k == key and event <= at and (known is None or created <= known)
    ]
    if not seen:
        return None, None, None
    event, _, value = max(seen, key=lambda row: row[:2])
    if value is None or at is None or at - event > VIEW.ttl_ms:
        return None, None, None
    return float(value), [value, value + 1], value


@settings(max_examples=40)
@given(history=histories, asked=labels, known=st.booleans(), parts=st.integers(1, 3))
def test_each_label_sees_what_a_search_finds(
    tmp_path_factory: pytest.TempPathFactory, history: Any, asked: Any, known: bool, parts: int
) -> None:
    folder = tmp_path_factory.mktemp("history")
    for part in range(parts):
        day = folder / f"part={part}"
        day.mkdir()
        pq.write_table(history_table(history[part::parts]), day / "part-0")
    table = label_table(asked)
    joined = DuckPointInTime().join(table, "at", [wanted(folder)], "known" if known else "")
    assert joined.select(table.schema.names).equals(table), "the labels come back as they were"
    found = [(r["sum"], r["last"], r["seen"]) for r in joined.to_pylist()]
    assert found == [searched(history, key, at, seen if known else None) for key, at, seen in asked]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p=1").mkdir()
    rows = [(("a", 1), 100, 100, 1), (("a", 1), 100, 200, 2), (("a", 1), 110, 300, 3)]
    pq.write_table(history_table(rows), tmp_path / "p=1" / "part-1")
    (tmp_path / "p=1" / ".part-2.inprogress").write_text("not yet Parquet")
    return tmp_path


def sums(table: pa.Table, folder: object, **more: Any) -> list[float | None]:
    return DuckPointInTime().join(table, "at", [wanted(folder)], **more).column("sum").to_pylist()


def test_the_later_created_counts_and_what_was_not_known_does_not(folder: Path) -> None:
    table = label_table(
        [(("a", 1), at, known) for at, known in ((105, 150), (105, 250), (115, 250), (99, 500))]
    )
    assert sums(table, folder) == [2, 2, 3, None]
    assert sums(table, folder, known_at="known") == [1, 2, 2, None]


def test_the_ttl_is_inclusive(folder: Path) -> None:
    assert sums(label_table([(("a", 1), at, 0) for at in (160, 161)]), folder) == [3, None]


@pytest.mark.parametrize("where", ["{}", "{}/p=1", "{}/p=*/*", "{}/*", "file://{}", "{}/p=1/part-1"])
def test_a_folder_a_glob_and_a_file_are_history(folder: Path, where: str) -> None:
    assert sums(label_table([(("a", 1), 120, 0)]), where.format(folder)) == [3]


def test_times_may_be_timestamps_of_any_unit_and_without_zone_are_utc(folder: Path) -> None:
    moment = datetime(1970, 1, 1, 0, 0, 0, 110_000, UTC)
    columns = {"shop": pa.array(["a"]).dictionary_encode(), "till": pa.array([1], pa.int32())}
    for kind in (pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.timestamp("ms", "Europe/Berlin")):
        at = pa.array([moment], pa.timestamp("us", "UTC")).cast(pa.int64())
        stamps = pa.array([at[0].as_py()], pa.timestamp("us", kind.tz)).cast(kind)
        assert sums(pa.table({**columns, "at": stamps}), folder) == [3]
    just_before = pa.array([109_999], pa.timestamp("us"))
    assert sums(pa.table({**columns, "at": just_before}), folder) == [2]


def test_integers_are_milliseconds_of_this_century_or_told(tmp_path: Path) -> None:
    second = 1_700_000_000
    pq.write_table(history_table([(("a", 1), second * 1000, second * 1000, 4)]), tmp_path / "part-0")

    def asked(at: int) -> pa.Table:
        return label_table([(("a", 1), None, 0)]).set_column(2, "at", pa.array([at], pa.int64()))

    assert sums(asked(second * 1000 + 5), tmp_path) == [4]
    for at in (second, second * 1_000_000, 0, 2**63 - 1):
        with pytest.raises(FeatureError, match=f"has {at}, which is before 2000 or after 2100"):
            sums(asked(at), tmp_path)


def test_a_model_may_call_one_feature_by_two_names(folder: Path) -> None:
    one = replace(wanted(folder), features=("sum", "sum"), names=("u", "v"))
    joined = DuckPointInTime().join(label_table([(("a", 1), 120, 0)]), "at", [one])
    assert joined.select(["u", "v"]).to_pylist() == [{"u": 3, "v": 3}]


def test_days_that_no_label_can_see_are_not_read(folder: Path) -> None:
    for day in ("1969-12-31", "1970-01-01", "1970-01-02"):
        (folder / f"dt={day}").mkdir()
    pq.write_table(history_table([(("a", 1), 118, 300, 8)]), folder / "dt=1970-01-01" / "part-0")
    for day in ("1969-12-30", "1970-01-02"):
        (folder / f"dt={day}").mkdir(exist_ok=True)
        (folder / f"dt={day}" / "part-0").write_text("would fail to be read")
    (folder / "p=1" / "part-1").unlink()
    assert sums(label_table([(("a", 1), 120, 0)]), folder) == [8]


def test_files_of_before_a_feature_was_added_have_none_of_it(folder: Path) -> None:
    old = history_table([(("b", 1), 100, 100, 7)]).drop_columns(["last", "seen"])
    (folder / "p=0").mkdir()
    pq.write_table(old, folder / "p=0" / "part-0")
    table = label_table([(("b", 1), 120, 0), (("a", 1), 120, 0)])
    joined = DuckPointInTime().join(table, "at", [wanted(folder)]).to_pylist()
    assert [(r["sum"], r["last"], r["seen"]) for r in joined] == [(7, None, None), (3, [3, 4], 3)]


def test_rows_that_were_written_together_with_one_time_leave_the_last(folder: Path) -> None:
    rows = [(("a", 1), 120, 300, value) for value in (5, 9, 6)]
    pq.write_table(history_table(rows), folder / "p=1" / "part-3")
    assert sums(label_table([(("a", 1), 125, 900)]), folder) == [6]
    assert sums(label_table([(("a", 1), 125, 900)]), folder, known_at="known") == [6]


def test_several_views_with_prefixes(folder: Path) -> None:
    other = StoredView("tills_v2", (("till", FeatureType.INT64),), (("sum", FeatureType.FLOAT64),), DAY)
    rows = history_table([(("z", 1), 90, 90, 8)]).drop_columns(["shop"])
    pq.write_table(rows, folder / "tills.parquet")
    both = [
        wanted(folder / "p=1", prefix=True),
        WantedFeatures(other, ("sum",), ("till",), str(folder / "tills.parquet")),
    ]
    joined = DuckPointInTime().join(label_table([(("a", 1), 120, 0)]), "at", both)
    assert joined.schema.names[5:] == ["sales_v1__sum", "sales_v1__last", "sales_v1__seen", "sum"]
    assert joined.column("sales_v1__sum").to_pylist() == [3] and joined.column("sum").to_pylist() == [8]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"timestamp": "when"}, "the labels have no column 'when'; they have till, shop"),
        ({"timestamp": "shop"}, "column 'shop' of the labels is string: give timestamps"),
        ({"known_at": "y"}, "column 'y' of the labels is bool"),
        ({"entity_columns": ("till", "till")}, "column 'till' of the labels is int64 where string belongs"),
        ({"entity_columns": ("shop",)}, "entity shop, till: name one column"),
        ({"features": ("sum", "size")}, "has sum, last, seen, not size"),
        ({"features": ()}, "not nothing"),
        ({"names": ("a", "b")}, "2 names for 1 features"),
        ({"history": "/nowhere/at/all"}, "there is no history of sales_v1 at /nowhere"),
    ],
)
def test_what_does_not_fit_is_said(folder: Path, changes: dict[str, Any], says: str) -> None:
    ask = {"timestamp": "at", "known_at": ""}
    ask |= {k: v for k, v in changes.items() if k in ask}
    parts: dict[str, Any] = {
        "names": (),
        "features": ("sum",),
        "entity_columns": ("shop", "till"),
        "history": str(folder),
    }
    one = WantedFeatures(VIEW, **(parts | {k: v for k, v in changes.items() if k in parts}))
    with pytest.raises(FeatureError, match=says):
        DuckPointInTime().join(label_table([(("a", 1), 1, 1)]), ask["timestamp"], [one], ask["known_at"])


def test_two_columns_of_one_name_are_refused(folder: Path) -> None:
    table = label_table([(("a", 1), 1, 1)]).append_column("sum", pa.array([1]))
    with pytest.raises(FeatureError, match="two columns would be called 'sum': ask for prefixes"):
        DuckPointInTime().join(table, "at", [wanted(folder)])


def test_files_of_another_kind_are_named(folder: Path) -> None:
    pq.write_table(pa.table({"shop": ["a"]}), folder / "p=1" / "part-9")
    with pytest.raises(FeatureError, match="part-9 has no column till, event_timestamp, created"):
        sums(label_table([(("a", 1), 120, 0)]), folder)
    wrong = history_table([(("a", 1), 100, 100, 1)]).set_column(2, "sum", pa.array(["x"]))
    pq.write_table(wrong, folder / "p=1" / "part-9")
    with pytest.raises(FeatureError, match=r"part-9, column sum is string, but float64 is declared"):
        sums(label_table([(("a", 1), 120, 0)]), folder)
