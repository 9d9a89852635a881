"""Statistics: parts add up to the whole, bytes come back, and numbers are those of numpy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from millrace.cli import app
from schemas.errors import StatisticsError
from udfs.lifecycle.statistics import distinct
from udfs.lifecycle.statistics.bins import BINS, Bins, Cutter, quantile
from udfs.lifecycle.statistics.exchange import from_proto, to_proto
from udfs.lifecycle.statistics.feature import FeatureStatistics
from udfs.lifecycle.statistics.frequent import CAPACITY, Frequent
from udfs.lifecycle.statistics.moments import Moments
from udfs.lifecycle.statistics.profile import profile
from udfs.lifecycle.statistics.table import TableStatistics, read_statistics, write_statistics

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=True, width=32),
    st.sampled_from(["red", "green", "blue", "", "é"]),
    st.lists(st.integers(), max_size=2),
)
RECORDS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), max_size=30)
HOW = {"a": Bins((-1.0, 0.0, 2.5), ("red", "true")), "b": Bins()}


def counted(records: list[dict[str, Any]]) -> TableStatistics:
    table = TableStatistics.counted_in(HOW)
    table.add(records)
    return table


def same(one: FeatureStatistics, other: FeatureStatistics) -> None:
    for name in ("rows", "absent", "nulls", "nested", "flags", "texts", "infinite", "fractions", "bins"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("registers", "number_counts", "text_counts"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.frequent.counts == other.frequent.counts
    for a, b in ((one.numbers, other.numbers), (one.text_lengths, other.text_lengths)):
        assert (a.count, a.least, a.most, a.zeros) == (b.count, b.least, b.most, b.zeros)
        if a.count and math.isfinite(a.squares):
            assert a.mean == pytest.approx(b.mean, rel=1e-9, abs=1e-9 * max(abs(a.least), abs(a.most)))
            assert a.squares == pytest.approx(b.squares, rel=1e-9, abs=1e-9 * (a.most - a.least + 1) ** 2)


@settings(max_examples=60)
@given(RECORDS, st.integers(0, 30))
def test_parts_add_up_to_the_whole_and_bytes_come_back(records, at):
    whole, left, right = counted(records), counted(records[:at]), counted(records[at:])
    left.merge(read_statistics(write_statistics(right)))
    assert left.rows == whole.rows and set(left.features) == set(whole.features)
    for name, feature in whole.features.items():
        same(left.features[name], feature)
        parts = feature.absent + feature.nulls + feature.nested + feature.flags + feature.texts
        assert parts + feature.numbers.count + feature.infinite == feature.rows == len(records)
        assert feature.number_counts.sum() == feature.numbers.count + feature.infinite
        assert feature.text_counts.sum() == feature.texts + feature.flags


@settings(max_examples=60)
@given(st.lists(st.dictionaries(st.text("abcdefg", max_size=1), VALUES), max_size=30), st.integers(0, 30))
def test_of_fields_beyond_a_bound_all_values_are_counted_together(records, at):
    known = {"a": Bins((0.5,)), "b": Bins()}
    parts = [TableStatistics.counted_in(known, more=2) for _ in range(2)]
    for part, some in zip(parts, (records[:at], records[at:]), strict=True):
        part.add([{**record, "x" * 300: 1} for record in some])
    whole = TableStatistics.counted_in(known)
    whole.add(records)
    merged = read_statistics(write_statistics(parts[0]))
    merged.merge(parts[1])
    assert len(merged.features) <= 4 and merged.rows == whole.rows and "x" * 300 not in merged.features
    same(merged.features["a"], whole.features["a"])
    values = sum(feature.rows - feature.absent for feature in merged.features.values())
    assert values + merged.others == sum(map(len, records)) + len(records)
    assert all(feature.rows == merged.rows for feature in merged.features.values())


@settings(max_examples=60)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.integers(0, 50))
def test_moments_are_those_of_numpy(values, at):
    x = np.array(values)
    found = Moments.of(x[:at]).merged(Moments.of(x[at:]))
    near = 1e-9 * float(np.abs(x).max() + 1)
    assert found.mean == pytest.approx(x.mean(), abs=near)
    assert found.deviation == pytest.approx(x.std(), rel=1e-6, abs=near)
    assert (found.count, found.least, found.most) == (x.size, x.min(), x.max())


def test_the_deviation_of_numbers_far_from_zero_keeps_its_digits():
    x = 1e9 + np.random.default_rng(1).normal(size=10_000)
    found = Moments()
    for part in np.array_split(x, 97):
        found = found.merged(Moments.of(part))
    assert found.deviation == pytest.approx(x.std(), rel=1e-6)


def test_edges_are_the_quantiles_and_counts_and_quantiles_exact_there():
    x = np.random.default_rng(2).permutation(np.arange(1, 6401, dtype=float))
    cutter = Cutter()
    for part in np.array_split(x, 7):
        cutter.add(part)
    edges = cutter.edges()
    assert edges == tuple(100.0 * k for k in range(1, 64))
    feature = FeatureStatistics.counted_in(Bins(edges))
    feature.add_numbers(x)
    assert feature.number_counts.tolist() == [100] * BINS
    assert feature.quantile(0.5) == 3200 and feature.quantile(0) == 1 and feature.quantile(1) == 6400
    assert math.isnan(quantile(0.5, (), np.zeros(1, np.int64), 0, 0))


def test_many_numbers_are_cut_by_a_sketch_near_their_quantiles():
    x = np.random.default_rng(3).random(300_000)
    cutter = Cutter()
    for part in np.array_split(x, 30):
        cutter.add(part)
    assert np.abs(np.array(cutter.edges()) - np.arange(1, 64) / 64).max() < 0.01


@pytest.mark.parametrize("n", [0, 1, 50, 3_000, 200_000])
def test_distinct_values_are_estimated_within_their_error(n):
    numbers, texts = distinct.empty_registers(), distinct.empty_registers()
    distinct.add(numbers, distinct.hashes_of_numbers(np.repeat(np.arange(n, dtype=float), 2)))
    distinct.add(texts, distinct.hashes_of_texts(f"value {k}" for k in range(min(n, 20_000))))
    assert distinct.estimate(numbers) == pytest.approx(n, rel=5 * 0.023)
    assert distinct.estimate(texts) == pytest.approx(min(n, 20_000), rel=5 * 0.023)


def test_frequent_texts_are_bounded_and_the_error_is_true():
    rng = np.random.default_rng(4)
    texts = [f"t{int(v)}" for v in np.minimum(rng.zipf(1.2, 30_000), 5_000)]
    true = {t: texts.count(t) for t in set(texts[:200])}
    parts = []
    for k in range(0, len(texts), 1_000):
        part = Frequent()
        for text in texts[k : k + 1_000]:
            part.add({text: 1})
        parts.append(part)
    found = Frequent()
    for part in parts:
        found.add(part.counts, part.error)
    assert len(found.counts) <= CAPACITY and found.error <= len(texts) / CAPACITY
    for text, count in true.items():
        assert found.counts.get(text, 0) <= count <= found.counts.get(text, 0) + found.error
    assert found.top(1)[0][0] == max(true, key=lambda t: true[t])


def test_columns_count_as_records_do():
    records = [{"a": float(k % 7), "b": "red" if k % 2 else None} for k in range(100)]
    columns = TableStatistics.counted_in(HOW)
    columns.add_columns(
        {
            "a": np.array([r["a"] for r in records]),
            "b": np.array([r["b"] for r in records], object),
        }
    )
    for name, feature in counted(records).features.items():
        same(columns.features[name], feature)
    with pytest.raises(StatisticsError, match="rows"):
        columns.add_columns({"a": np.zeros(2), "b": np.zeros(3)})


def test_other_bins_other_bytes_and_newer_versions_are_refused():
    one, other = FeatureStatistics.counted_in(Bins((1.0,))), FeatureStatistics.counted_in(Bins((2.0,)))
    with pytest.raises(StatisticsError, match="bins"):
        one.merge(other)
    good = write_statistics(counted([{"a": 1}]))
    for bad in (b"", b"\x00", good[:-3], good.replace(b"version\x01", b"version\x09")):
        with pytest.raises(StatisticsError):
            read_statistics(bad)


def test_statistics_travel_as_tensorflow_metadata():
    pytest.importorskip("tensorflow_metadata")
    rng = np.random.default_rng(5)
    records = [
        {"x": float(v), "n": int(v * 10), "colour": "red" if v > 0 else "blue"}
        for v in rng.normal(size=2_000)
    ]
    records[3] = {"x": None}
    table = profile(lambda: [records[:900], records[900:]])
    message = to_proto(table, "wine")
    read = type(message).FromString(message.SerializeToString())
    kinds = {f.path.step[0]: f.type for f in read.datasets[0].features}
    assert kinds == {"x": 1, "n": 0, "colour": 2} and read.datasets[0].num_examples == 2_000
    back = from_proto(read)
    for name, feature in table.features.items():
        found = back.features[name]
        assert (found.rows, found.missing) == (feature.rows, feature.missing)
        assert found.bins == feature.bins
        assert np.array_equal(found.number_counts[: len(feature.number_counts)], feature.number_counts)
        assert np.array_equal(found.text_counts, feature.text_counts)
        assert found.numbers.deviation == pytest.approx(feature.numbers.deviation)
    assert read.datasets[0].features[0].num_stats.median == pytest.approx(
        np.median([r["x"] for r in records if r["x"] is not None]), abs=0.05
    )


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_the_command_reads_each_format_alike(tmp_path: Path, ending: str):
    rows = [{"x": 0.5 * k, "colour": "red" if k % 3 else "blue", "code": f"{k:03}"} for k in range(200)]
    rows[7]["x"] = None  # type: ignore[assignment]
    path, to = tmp_path / f"t.{ending}", tmp_path / "t.statistics"
    if ending == "csv":
        lines = [f"{'' if r['x'] is None else r['x']},{r['colour']},{r['code']}" for r in rows]
        path.write_text("x,colour,code\n" + "\n".join([*lines, "too,many,cells,here"]))
    elif ending == "jsonl":
        path.write_bytes(b"\n".join([*map(orjson.dumps, rows), b"{broken"]))
    else:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(rows), path)
    arguments = ["profile", str(path), "--to", str(to), *(["--text", "code"] if ending == "csv" else [])]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert f"200 records, 3 features, {0 if ending == 'parquet' else 1} unreadable" in done.output
    table = read_statistics(to.read_bytes())
    x, colour, code = (table.features[name] for name in ("x", "colour", "code"))
    assert (x.numbers.count, x.missing, x.numbers.most) == (199, 1, 99.5) and len(x.bins.edges) == 63
    assert dict(colour.frequent.top(2)) == {"red": 133, "blue": 67} and round(colour.distinct()) == 2
    assert code.texts == 200 and code.text_lengths.mean == 3


def test_the_command_writes_for_viewers_and_refuses_to_replace_its_input(tmp_path: Path):
    pytest.importorskip("tensorflow_metadata")
    path = tmp_path / "t.csv"
    path.write_text("x\n1\n2\n")
    for name in ("s.pb", "s.pbtxt"):
        assert CliRunner().invoke(app, ["profile", str(path), "--to", str(tmp_path / name)]).exit_code == 0
    message = to_proto(TableStatistics())
    message.ParseFromString((tmp_path / "s.pb").read_bytes())
    assert message.datasets[0].features[0].num_stats.mean == 1.5
    assert b"num_examples: 2" in (tmp_path / "s.pbtxt").read_bytes()
    assert CliRunner().invoke(app, ["profile", str(path), "--to", str(path)]).exit_code == 2


@pytest.mark.parametrize("parts", [([1e308] * 3,), ([1e308, -1e308],), ([1e308] * 3, [-1e308] * 3)])
def test_of_the_largest_numbers_too_mean_and_quantiles_are_numbers(parts: tuple[list[float], ...]) -> None:
    """JSON has no others: messages about such windows could not be read."""
    whole = FeatureStatistics.counted_in(Bins())
    for values in parts:
        part = FeatureStatistics.counted_in(Bins())
        part.add(values)
        whole.merge(part)
    true = sum(value / sum(map(len, parts)) for part in parts for value in part)
    assert whole.numbers.mean == pytest.approx(true, abs=1e295)
    assert all(abs(whole.quantile(q)) <= 1e308 for q in (0.01, 0.5, 0.99))
