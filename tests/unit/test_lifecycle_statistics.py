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
from udfs.lifecycle.drift.anomalies import anomalies
from udfs.lifecycle.drift.reference import vector
from udfs.lifecycle.statistics import distinct
from udfs.lifecycle.statistics.bins import BINS, Bins, Cutter, quantile
from udfs.lifecycle.statistics.exchange import from_proto, read_proto, to_proto
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


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", ["lognormal", "normal", "uniform", "exponential"])
def test_quantiles_in_the_tails_are_near_the_true_ones(kind, sign):
    rng = np.random.default_rng(8)
    values = {
        "lognormal": lambda n: rng.lognormal(0, 3, n),
        "normal": rng.normal,
        "uniform": rng.random,
        "exponential": lambda n: rng.exponential(1, n),
    }[kind]
    x = sign * (values(size=50_000) if kind == "normal" else values(50_000))
    feature = FeatureStatistics.counted_in(Bins(_cut(x)))
    feature.add_numbers(x)
    qs = np.linspace(0, 1, 2_001)
    found = np.array([feature.quantile(q) for q in qs])
    assert (np.diff(found) >= 0).all() and (found[0], found[-1]) == (x.min(), x.max())
    for q in (0.01, 0.05, 0.95, 0.99):
        assert feature.quantile(q) == pytest.approx(np.quantile(x, q), rel=0.25, abs=0.01)


def _cut(x: np.ndarray) -> tuple[float, ...]:
    cutter = Cutter()
    cutter.add(x)
    return cutter.edges()


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


def test_viewers_see_every_value_of_mixed_and_nested_fields():
    pytest.importorskip("tensorflow_metadata")
    records = [
        {
            "list": [1, 2],
            "object": {"x": 1},
            "numbers": k if k % 4 else "txt",
            "texts": f"t{k % 3}" if k % 4 else 0.5 * k,
            "flag": k % 3 == 0,
            "none": None,
            **({"odd": [k] if k % 10 else k} if k % 5 else {}),
        }
        for k in range(1_000)
    ]
    table = profile(lambda: [records])
    data = to_proto(table).SerializeToString()
    message = to_proto(table).FromString(data)
    features = {f.path.step[0]: f for f in message.datasets[0].features}
    types = {name: f.type for name, f in features.items()}
    assert types == {"list": 4, "object": 4, "numbers": 0, "texts": 2, "flag": 2, "none": 0, "odd": 4}
    for name, f in features.items():
        common = getattr(f, f.WhichOneof("stats")).common_stats
        present = {"none": 0, "odd": 800}.get(name, 1_000)
        assert (common.num_non_missing, common.num_missing) == (present, 1_000 - present), name
    back = read_proto(data)
    for name, feature in table.features.items():
        found = back.features[name]
        for kind in ("rows", "absent", "nulls", "nested", "flags", "texts", "infinite", "fractions", "bins"):
            assert getattr(found, kind) == getattr(feature, kind), (name, kind)
        assert np.array_equal(vector(found), vector(feature)), name
        assert (found.numbers.count, found.numbers.least) == (feature.numbers.count, feature.numbers.least)
        assert found.numbers.mean == pytest.approx(feature.numbers.mean)
        assert found.numbers.deviation == pytest.approx(feature.numbers.deviation)
    assert not anomalies(back, table)


@settings(max_examples=60, deadline=None)
@given(RECORDS, RECORDS)
def test_what_travels_compares_as_before(training, window):
    pytest.importorskip("tensorflow_metadata")
    table = profile(lambda: [training])
    back = read_proto(to_proto(table).SerializeToString())
    counted = TableStatistics.counted_in(back.bins())
    counted.add(window)
    shown = to_proto(counted)
    for feature in shown.datasets[0].features:
        for histogram in feature.num_stats.histograms:
            assert all(bucket.low_value <= bucket.high_value for bucket in histogram.buckets)
    for name, feature in table.features.items():
        found = back.features[name]
        if feature.numbers.count or not feature.infinite:  # else there is no number to begin a bin with
            assert vector(found).sum() == vector(feature).sum() == feature.rows
            assert np.array_equal(vector(found)[0], vector(feature)[0])
            assert found.numbers.count == feature.numbers.count


def others_statistics(**of_numbers: Any) -> Any:
    """As TensorFlow Data Validation writes them."""
    message = to_proto(TableStatistics(rows=100))
    numbers, texts = (message.datasets[0].features.add() for _ in range(2))
    numbers.path.step.append("x")
    numbers.type = 1
    stats = numbers.num_stats
    stats.common_stats.num_non_missing, stats.common_stats.num_missing = 90, 10
    stats.mean, stats.std_dev, stats.min, stats.max, stats.num_zeros = 1.0, 2.0, 0.0, 9.0, 40
    stats.histograms.add(type=0).buckets.add(low_value=0, high_value=9, sample_count=90)
    quantiles = stats.histograms.add(type=1)
    for low, high in ((0.0, 0.0), (0.0, 0.0), (0.0, 3.0), (3.0, 9.0)):
        quantiles.buckets.add(low_value=low, high_value=high, sample_count=22.5)
    for name, value in of_numbers.items():
        if name == "bucket":
            quantiles.buckets.add(low_value=9.0, high_value=value, sample_count=0)
        elif name == "count":
            quantiles.buckets[0].sample_count = value
        else:
            setattr(stats, name, value)
    texts.path.step.append("colour")
    texts.type = 2
    texts.string_stats.common_stats.num_non_missing = 100
    for text, count in (("red", 70), ("blue", 20)):
        texts.string_stats.top_values.add(value=text, frequency=count)
    return message


def test_statistics_of_others_are_read():
    pytest.importorskip("tensorflow_metadata")
    table = from_proto(others_statistics(max=math.inf))
    x, colour = table.features["x"], table.features["colour"]
    assert (x.rows, x.missing, x.numbers.count, x.bins.edges) == (100, 10, 90, (0.0, 3.0))
    assert x.number_counts.tolist() == [44, 22, 22] and x.numbers.most == math.inf
    assert colour.bins.categories == ("red", "blue") and colour.text_counts.tolist() == [70, 20, 10]
    several = others_statistics()
    several.datasets[0].features[0].num_stats.common_stats.max_num_values = 3
    assert from_proto(several).features["x"].nested == 90
    for wrong in ({"bucket": math.nan}, {"bucket": 1.0}, {"count": -1.0}, {"count": math.nan}):
        with pytest.raises(StatisticsError, match="'x' are none"):
            from_proto(others_statistics(**wrong))
    for data in (b"", b"junk", b"\xff" * 20):
        with pytest.raises(StatisticsError):
            read_proto(data)


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
