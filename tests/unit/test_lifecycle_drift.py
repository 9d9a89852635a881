"""Drift: bounds below the true distance at all times, alarms that name the feature, and what is no chance."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from schemas.errors import SettingsError, StatisticsError
from udfs.lifecycle.drift.alerts import anomaly_alert, drift_alert, read_alert, sentence, write_alert
from udfs.lifecycle.drift.anomalies import AnomalySettings, anomalies
from udfs.lifecycle.drift.distances import binary_jensen_shannon, bounds, observed
from udfs.lifecycle.drift.monitor import DriftMonitor
from udfs.lifecycle.drift.quality_change import QualityDetector
from udfs.lifecycle.drift.reference import Reference, normal_scores
from udfs.lifecycle.drift.settings import DISTANCES, DriftSettings
from udfs.lifecycle.evidence.bernstein import log_evidence, psi, radius, rate_for
from udfs.lifecycle.evidence.multiple import e_bh, log_e_of_levels
from udfs.lifecycle.statistics.profile import profile
from udfs.lifecycle.statistics.table import TableStatistics


def reference(training: np.ndarray) -> Reference:
    return Reference.counted([str(k) for k in range(len(training))], training, np.ones(len(training), bool))


def true_distances(p: np.ndarray, q: np.ndarray) -> dict[str, float]:
    apart = np.cumsum(q - p)
    return {
        "ks": float(np.abs(apart).max()),
        "wasserstein": float((np.abs(apart[:-1]) * (p[:-1] + p[1:]) / 2).sum()),
        "jensen_shannon": float(jensenshannon(p, q, base=2) ** 2),
        "chi_squared": float((np.square(q - p)[p > 0] / p[p > 0]).sum()),
        "shift": float(abs((normal_scores(p[None], (np.cumsum(p) - p / 2)[None])[0] * q).sum())),
    }


def test_bounds_stay_below_the_true_distances_at_all_times():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(16))
    shifts = [p, *(0.7 * p + 0.3 * rng.dirichlet(np.ones(16)) for _ in range(9))]
    streams, wrong, found = 200, 0, 0
    for q in shifts:
        training = np.tile(np.round(p * 1e9).astype(np.int64), (streams, 1))
        known, true = reference(training), true_distances(p, q)
        counts, over = np.zeros((streams, 16), np.int64), np.zeros(streams, bool)
        for look in range(12):
            counts += rng.multinomial(200, q, size=streams)
            for name, bound in bounds(known, counts, 0.05, 2_400, closed=look == 11).distances.items():
                over |= bound > true[name] + 1e-9
        wrong += int(over.sum())
        found += int((bounds(known, counts, 0.05, 2_400).distances["ks"] > 0).sum())
    assert wrong <= 0.05 * streams * len(shifts)
    assert found > 0.8 * streams * (len(shifts) - 1)  # and they are not bounds that say nothing


def test_a_small_training_set_raises_no_more_false_alarms():
    rng = np.random.default_rng(2)
    p, features = np.full(64, 1 / 64), 1_000
    training = rng.multinomial(2_000, p, size=features)
    found = bounds(reference(training), rng.multinomial(20_000, p, size=features), 0.05, 20_000)
    assert (found.distances["wasserstein"] > 0).mean() <= 0.05
    # a plain bound that takes the training set for the truth alarms nearly always
    plain = bounds(reference(training * 10**6), rng.multinomial(20_000, p, size=features), 0.05, 20_000)
    assert (plain.distances["wasserstein"] > 0).mean() > 0.5


def test_the_shift_is_bounded_at_a_windows_end_alone_as_often_as_it_may_be():
    rng = np.random.default_rng(4)
    p, features, alpha = np.full(64, 1 / 64), 4_000, 0.01
    for rows in (20_000, 1_000_000):
        known = reference(rng.multinomial(rows, p, size=features))
        counts = rng.multinomial(20_000, p, size=features)
        assert not bounds(known, counts, alpha, 20_000).shift.any()
        false = int((bounds(known, counts, alpha, 20_000, closed=True).shift != 0).sum())
        assert (
            features * alpha * 0.9 / 2 < false < features * alpha * 0.9 * 1.6
        )  # of 36; both ends above 3 sigma


def test_a_skewed_feature_has_no_bound_of_its_shift_but_others():
    counts = np.array([[199_900, 100], [100_000, 100_000]])
    known = reference(counts)
    found = bounds(known, np.array([[19_000, 1_000], [9_000, 11_000]]), 1e-6, 20_000, closed=True)
    assert found.shift[0] == 0 and found.rank[0] > 0  # one in 2,000: far from normal
    assert found.shift[1] > 0
    small = bounds(known, np.array([[2, 0], [0, 20]]), 1e-6, 20_000, closed=True)
    assert not small.shift.any()  # twenty records are too few for the tail


def test_observed_distances_are_those_of_scipy():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 20, 500), rng.integers(2, 22, 700)
    one, other = np.bincount(a, minlength=22)[None], np.bincount(b, minlength=22)[None]
    found = observed(reference(one), other)
    assert found["ks"][0] == pytest.approx(ks_2samp(a, b).statistic)
    assert found["jensen_shannon"][0] == pytest.approx(jensenshannon(one[0], other[0], base=2) ** 2)
    assert binary_jensen_shannon(np.array([0.0]), np.array([1.0]))[0] == 1
    assert binary_jensen_shannon(np.array([0.3]), np.array([0.6]))[0] == pytest.approx(
        jensenshannon([0.3, 0.7], [0.6, 0.4], base=2) ** 2
    )


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 500), min_size=4, max_size=4),
    st.lists(st.integers(0, 500), min_size=4, max_size=4),
)
def test_bounds_never_exceed_what_is_observed(training, window):
    if not sum(training):
        return
    known, counts = reference(np.array([training])), np.array([window])
    near, far = bounds(known, counts, 0.5, 100).distances, observed(known, counts)
    for name in ("ks", "jensen_shannon"):
        assert 0 <= near[name][0] <= far[name][0] + 1e-9
    assert 0 <= near["wasserstein"][0] <= far["wasserstein"][0] + 1e-9 and near["chi_squared"][0] >= 0


def test_the_e_process_has_no_expectation_above_one():
    # exactly, over all outcomes of five coins and any mean up to the hypothesis
    for p, rate in ((0.3, 0.4), (0.5, 0.9), (0.1, 0.2)):
        expected = 0.0
        for heads in range(6):
            weight = math.comb(5, heads) * p**heads * (1 - p) ** (5 - heads)
            squares = heads * (1 - p) ** 2 + (5 - heads) * p**2
            expected += weight * math.exp(float(log_evidence(heads - 5 * p, squares, rate)))
        assert 0.25 < expected <= 1
    assert psi(0.5) == pytest.approx(math.log(2) - 0.5)
    assert radius(3.0, 0.0, 0, 0.1) == math.inf and rate_for(3.0, 0.0) == 0.5


def test_e_bh_takes_as_many_as_it_may():
    e = np.log(np.array([1.0, 300.0, 100.0, 0.1, 55.0]))
    assert e_bh(e, 0.05).tolist() == [False, True, True, False, True]  # 5 / (3 * 0.05) = 33.3
    assert not e_bh(np.log(np.full(4, 19.0)), 0.05).any()
    levels = np.array([0.01, 0.1])
    assert np.exp(
        log_e_of_levels(np.array([[True, True], [False, True], [False, False]]), levels)
    ).tolist() == (pytest.approx([55, 5, 0]))


def records(n: int, seed: int, shift: float = 0.0, red: float = 0.5) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {"x": x, "y": y, "colour": "red" if u < red else "blue"}
        for x, y, u in zip(
            (rng.normal(size=n) + shift).tolist(),
            rng.normal(size=n).tolist(),
            rng.random(n).tolist(),
            strict=True,
        )
    ]


@pytest.fixture(scope="module")
def training() -> TableStatistics:
    rows = records(20_000, 0)
    return profile(lambda: [rows])


def window(training: TableStatistics, rows: list[dict]) -> TableStatistics:
    table = TableStatistics.counted_in(training.bins())
    table.add(rows)
    return table


@pytest.mark.parametrize("correction", ["bonferroni", "e-bh"])
def test_a_drifting_feature_is_named_with_its_direction_and_since_when(training, correction):
    monitor = DriftMonitor(training, DriftSettings(correction=correction, window=3_000))
    assert monitor.judge(window(training, records(3_000, 1)), 0, closed=True) == []
    for start in (1_000, 2_000):
        (found,) = monitor.judge(window(training, records(3_000, start, shift=-0.3)), start, closed=True)
        assert (found.feature, found.direction, found.since, found.share) == ("x", "down", 1_000, 1.0)
        assert all(0 <= found.at_least[d] <= found.observed[d] + 0.05 for d in DISTANCES)
    again = DriftMonitor(training, DriftSettings(window=3_000), monitor.since)
    both = again.judge(window(training, records(3_000, 3, shift=-0.3, red=0.7)), 3_000, closed=True)
    assert [one.feature for one in both] == ["colour", "x"] and both[1].since == 1_000
    assert both[0].distance != both[1].distance and sum(one.share for one in both) == pytest.approx(1.0)
    assert both[1].share == pytest.approx(
        both[1].observed["jensen_shannon"] / sum(one.observed["jensen_shannon"] for one in both)
    )
    assert again.judge(window(training, records(3_000, 4)), 4_000, closed=True) == [] and again.since == {}


def test_a_tolerated_distance_raises_no_alarm(training):
    tolerant = DriftSettings(tolerance={"wasserstein": 0.2}, window=3_000)
    assert DriftMonitor(training, tolerant).judge(window(training, records(3_000, 5, shift=0.3)), 0) == []
    other = window(profile(lambda: [records(500, 9)]), records(10, 1))
    with pytest.raises(StatisticsError, match="other bins"):
        DriftMonitor(training, tolerant).judge(other, 0)


def test_a_field_that_is_gone_drifts_and_is_an_anomaly(training):
    gone = window(training, [{k: v for k, v in r.items() if k != "y"} for r in records(500, 6)])
    assert [d.feature for d in DriftMonitor(training, DriftSettings()).judge(gone, 0)] == ["y"]
    assert [(a.feature, a.kind, a.records) for a in anomalies(training, gone)] == [("y", "missing", 500)]


def test_anomalies_say_what_and_how_many(training):
    rows = records(300, 7)
    rows[0]["x"], rows[1]["x"], rows[2]["colour"], rows[3]["extra"] = 99.0, "seven", "green", 1
    found = {(a.feature, a.kind): a for a in anomalies(training, window(training, rows))}
    assert {(key, one.records) for key, one in found.items()} == {
        (("x", "range"), 1),
        (("x", "type"), 1),
        (("colour", "new_categories"), 1),
        (("extra", "new_field"), 1),
    }
    assert "'green'" in found["colour", "new_categories"].detail and "99" in found["x", "range"].detail
    assert not anomalies(training, window(training, rows), AnomalySettings(least=2))
    assert not anomalies(training, TableStatistics())


@pytest.mark.parametrize("value", [0.5, "a", True, [1]])
def test_a_field_that_had_no_value_in_training_and_has_one_now_is_told_of(value):
    training = profile(lambda: [[{"a": None, "b": 1}] * 50])
    (found,) = anomalies(training, window(training, [{"a": value, "b": 1}, {"a": None, "b": 1}]))
    assert (found.feature, found.kind, found.records) == ("a", "type", 1) and "no value" in found.detail
    assert not anomalies(training, window(training, [{"a": None, "b": 1}]))


@pytest.mark.parametrize(("inside", "outside"), [(0, 5_000), (2_500, 2_500), (4_990, 10), (4_999, 1)])
@pytest.mark.parametrize("far", [1e6, -1e6])
def test_numbers_out_of_range_are_counted(inside, outside, far):
    known = profile(lambda: [[{"a": float(i % 100)} for i in range(5_000)]])
    values = [float(i % 100) for i in range(inside)] + [far] * outside
    rows = window(known, [{"a": value} for value in values])
    (found,) = anomalies(known, rows, AnomalySettings(least=outside))
    assert (found.kind, found.records) == ("range", outside)
    assert not anomalies(known, rows, AnomalySettings(least=outside + 1))
    (wide,) = anomalies(known, rows, AnomalySettings(margin=10.0))
    assert wide.records == outside


@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=50),
    st.lists(st.one_of(st.floats(-300, 300), st.just(math.inf)), min_size=1, max_size=50),
    st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_no_more_numbers_are_out_of_range_than_there_are(training, values, repeat):
    known = profile(lambda: [[{"a": value} for value in training]], bins=8)
    low, high = min(training), max(training)
    values = values * (1 + repeat)
    out = sum(not low <= value <= high for value in values)
    found = anomalies(known, window(known, [{"a": value} for value in values]))
    records = sum(one.records for one in found if one.kind == "range")
    finite = [value for value in values if math.isfinite(value)]
    assert records <= out and bool(records) == bool(out)
    if finite and (min(finite) > high or max(finite) < low):
        assert records == out


@pytest.mark.parametrize(
    "wrong", [{"tolerance": {"psi": 0.1}}, {"tolerance": {"ks": -1}}, {"false_alarms": 0}, {"window": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SettingsError):
        DriftSettings(**wrong)


def test_alerts_are_cloud_events_and_come_back(training):
    found = DriftMonitor(training, DriftSettings(window=3_000)).judge(
        window(training, records(3_000, 8, shift=0.4)), 1_795_000_000_000
    )
    alert = drift_alert("wine", 1_795_000_000_000, 1_795_000_060_000, found)
    data = write_alert(alert, "jobs/watch", 1_795_000_061_500)
    event = orjson.loads(data)
    assert {"specversion": "1.0", "type": "millrace.drift", "subject": "wine"}.items() <= event.items()
    assert event["time"] == "2026-11-18T11:07:41.500Z" and event["id"] and event["source"] == "jobs/watch"
    assert read_alert(data) == alert and write_alert(alert, "jobs/watch", 1_795_000_061_500) == data
    assert "x drifts up by at least" in sentence(alert) and "2026-11-18T11:06:40Z" in sentence(alert)
    odd = anomaly_alert("wine", 0, 1, anomalies(training, window(training, [{"x": 1.0}])))
    assert read_alert(write_alert(odd, "w", 0)) == odd and "missing" in sentence(odd)
    for bad in (b"{}", b"[", data.replace(b'"1.0"', b'"0.3"')):
        with pytest.raises(StatisticsError):
            read_alert(bad)


def test_a_worse_model_is_noticed_and_a_good_one_is_left_alone():
    rng = np.random.default_rng(9)
    alarms = 0
    for _ in range(40):
        detector = QualityDetector(baseline=0.2, patience=1_000)
        for _ in range(50):
            k = int(rng.binomial(100, 0.2))
            alarms += detector.add(100, k, k)
            if detector.alarmed:
                break
    assert alarms <= 6  # 40 runs of 50 batches at one false alarm in 1,000 batches: 2 expected at most
    detector, batch = QualityDetector(baseline=0.2, patience=1_000), 0
    while not detector.alarmed:
        k = int(rng.binomial(100, 0.2 if batch < 30 else 0.35))
        detector.add(100, k, k)
        batch += 1
        assert batch < 60
    assert batch > 30 and 24 <= detector.since <= 36
    assert detector.add(0, 0, 0)
    with pytest.raises(SettingsError):
        QualityDetector(baseline=1.0)


def test_the_shift_that_the_design_asks_for_is_mostly_found_in_one_window():
    normal, k = NormalDist(), 300
    edges = [normal.inv_cdf(i / 64) for i in range(1, 64)]
    moved = np.diff([0.0, *(normal.cdf(e - 0.05) for e in edges), 1.0])
    rng = np.random.default_rng(10)
    known = reference(rng.multinomial(1_000_000, np.full(64, 1 / 64), size=k))
    hits = bounds(known, rng.multinomial(20_000, moved, size=k), 0.001 / 200, 20_000, closed=True)
    assert (hits.distances["shift"] > 0).mean() > 0.97  # 99.2 % expected, 99.4 % possible


def test_rare_categories_that_grow_together_are_seen():
    known = Reference.counted(["colour"], np.array([[0, 0, 5_000, 4_900, 100]]), np.array([False]))
    near = bounds(known, np.array([[0, 0, 4_500, 4_500, 1_000]]), 0.001, 10_000)
    assert near.splits[0, -1] > 0.05 and near.distances["wasserstein"][0] == 0
