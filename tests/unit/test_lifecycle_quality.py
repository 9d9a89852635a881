"""Quality: the figures are scikit-learn's, and parts add up to the batch."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import StatisticsError
from tests.registered import quality
from udfs.lifecycle.quality.classification import ClassificationSums
from udfs.lifecycle.quality.exchange import added_up, from_plain, quality_record, to_plain
from udfs.lifecycle.quality.regression import RegressionSums
from udfs.lifecycle.quality.windows import Quality, QualityKey, read_sums, write_sums

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60)
NUMBERS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=60)


def classes(pairs, missing: int = 0) -> ClassificationSums:
    sums = ClassificationSums()
    sums.add(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], bool), missing)
    return sums


def numbers(pairs, missing: int = 0) -> RegressionSums:
    sums = RegressionSums()
    sums.add(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), missing)
    return sums


EXACT = ("log_loss", "absolute", "squares", "signed", "rests")


def same(one, other) -> None:
    for name in one.__struct_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, int | dict) or name in EXACT:
            assert a == b, name
        elif isinstance(a, np.ndarray) and a.dtype.kind == "i":
            assert np.array_equal(a, b), name
        else:
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * 1e6, err_msg=name)
    for name, value in one.figures().items():
        assert value == pytest.approx(other.figures()[name], rel=1e-9, abs=1e-6, nan_ok=True), name


@given(PAIRS, st.integers(0, 60), st.integers(0, 9))
@settings(max_examples=60)
def test_parts_of_classes_add_up(pairs, at, missing):
    left = classes(pairs[:at], missing)
    left.merge(read_sums(write_sums(classes(pairs[at:]))))  # type: ignore[arg-type]
    same(left, classes(pairs, missing))


@given(NUMBERS, st.integers(0, 60), st.integers(0, 9))
@settings(max_examples=60)
def test_parts_of_numbers_add_up(pairs, at, missing):
    left = numbers(pairs[:at], missing)
    left.merge(read_sums(write_sums(numbers(pairs[at:]))))  # type: ignore[arg-type]
    same(left, numbers(pairs, missing))


@given(NUMBERS, NUMBERS, NUMBERS)
@settings(max_examples=60)
def test_parts_add_up_in_any_order_to_the_bit(a, b, c):
    for of in (numbers, lambda pairs: classes([(abs(p) / 1e6, q > 0) for p, q in pairs])):
        one, other = of(a), of(c)
        one.merge(of(b))
        one.merge(of(c))
        other.merge(of(a))
        other.merge(of(b))
        same(one, other)
        one.merge(of(b), -1)
        other.merge(of(b), -1)
        same(one, other)


def test_a_correction_leaves_nothing_of_an_outcome_that_was_far_off():
    sums, plain = numbers([(1.0, 1.5), (2.0, 2.25), (1.0, 1e60)]), numbers([(1.0, 1.5), (2.0, 2.25), (1, 3)])
    sums.merge(numbers([(1.0, 3.0)]))
    sums = from_plain("numbers", to_plain(read_sums(write_sums(sums))))  # as it travels, and lies in state
    assert isinstance(sums, RegressionSums) and sums.rests
    sums.merge(numbers([(1.0, 1e60)]), -1)
    assert sums.figures() == {**plain.figures(), "predictions": 3.0} and sums == plain


def test_errors_that_are_all_corrected_are_none_however_they_were_added_up():
    off, one_by_one = [(math.sqrt(0.1), 0.0)] * 10, RegressionSums()
    for pair in off:
        one_by_one.merge(numbers([pair]))
    corrected = numbers([(0.0, 0.0)] * 10)
    corrected.merge(numbers(off), -1)
    one_by_one.merge(corrected)
    assert one_by_one.figures()["rmse"] == one_by_one.figures()["mae"] == 0
    from_before = RegressionSums(10, 0, 10, squares=-1e-16)  # state of a release that summed with rounding
    assert from_before.figures()["rmse"] == 0


@pytest.mark.parametrize(
    "rests", ([[1e-17]], [[1e-17], [], []], [[], [math.inf]], [[], ["x"]], 7, [[0.1] * 65, []])
)
def test_sums_with_what_no_rounding_leaves_are_none(rests):
    plain = to_plain(classes([(0.2, True)]))
    with pytest.raises(StatisticsError, match="no sums"):
        from_plain("classes", {**plain, "rests": rests})


def test_figures_of_classes_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    outcomes = rng.random(5_000) < 0.3
    scores = np.clip(rng.beta(2, 5, 5_000) + 0.25 * outcomes, 0, 1)
    sums = ClassificationSums()
    sums.add(scores, outcomes, without_outcome=1_000)
    found, said = sums.figures(), scores >= 0.5
    assert found["coverage"] == 5_000 / 6_000 and found["outcomes"] == 5_000
    for name, expected in {
        "accuracy": metrics.accuracy_score(outcomes, said),
        "precision": metrics.precision_score(outcomes, said),
        "recall": metrics.recall_score(outcomes, said),
        "log_loss": metrics.log_loss(outcomes, scores),
        "brier": metrics.brier_score_loss(outcomes, scores),
    }.items():
        assert found[name] == pytest.approx(expected, rel=1e-9), name
    exact = metrics.roc_auc_score(outcomes, scores)
    assert abs(found["auc"] - exact) <= found["auc_binning_error"] < 0.01
    drawn = [rng.integers(0, 5_000, 5_000) for _ in range(60)]
    resampled = [metrics.roc_auc_score(outcomes[i], scores[i]) for i in drawn]
    assert found["auc_standard_error"] == pytest.approx(np.std(resampled), rel=0.5)


def test_scores_that_are_binned_exactly_have_the_exact_area():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    scores, outcomes = rng.integers(0, 256, 400) / 256, rng.random(400) < 0.5
    sums = ClassificationSums()
    sums.add(scores, outcomes)
    assert sums.area()[0] == pytest.approx(metrics.roc_auc_score(outcomes, scores), rel=1e-12)


def test_what_is_well_calibrated_has_a_small_error_and_what_is_not_a_large_one():
    rng = np.random.default_rng(3)
    scores = rng.random(20_000)
    good, bad = ClassificationSums(), ClassificationSums()
    good.add(scores, rng.random(20_000) < scores)
    bad.add(scores, rng.random(20_000) < scores**3)
    assert good.calibration_error() < 0.03 and bad.calibration_error() > 0.2
    assert sum(n for n, _, _ in good.calibration()) == 20_000


def test_figures_of_numbers_are_those_of_numpy():
    rng = np.random.default_rng(4)
    came = rng.normal(10, 3, 4_000)
    predicted = came + rng.standard_t(4, 4_000) + 0.3
    predicted[:50] = came[:50]
    sums = RegressionSums()
    sums.add(predicted, came, without_outcome=1_000)
    found, off = sums.figures(), predicted - came
    assert found["mae"] == pytest.approx(np.abs(off).mean()) and found["bias"] == pytest.approx(off.mean())
    assert found["rmse"] == pytest.approx(math.sqrt(np.square(off).mean())) and found["coverage"] == 0.8
    for q, name in ((0.5, "error_p50"), (0.9, "error_p90"), (0.99, "error_p99")):
        assert found[name] == pytest.approx(np.quantile(np.abs(off), q, method="lower"), rel=0.0101)
    assert sums.error_quantile(0.001) == 0


def test_nothing_is_known_of_nothing():
    for sums in (ClassificationSums(), RegressionSums()):
        figures = sums.figures()
        assert figures["outcomes"] == 0 and all(
            math.isnan(v) for k, v in figures.items() if k not in ("outcomes", "predictions", "unscored")
        )


def test_what_does_not_fit_is_refused():
    with pytest.raises(StatisticsError):
        classes([(1.5, True)])
    with pytest.raises(StatisticsError):
        classes([(math.nan, True)])
    with pytest.raises(StatisticsError):
        numbers([(math.inf, 0.0)])
    with pytest.raises(StatisticsError, match="huge"):
        numbers([(1e200, -1e200)])
    with pytest.raises(StatisticsError, match="threshold"):
        ClassificationSums(0.4).merge(ClassificationSums())
    good = write_sums(classes([(0.2, True)]))
    for bad in (b"", good[:-9], b"\x93\x09" + good[2:], good.replace(b"classes", b"clauses")):
        with pytest.raises(StatisticsError):
            read_sums(bad)


def test_quality_is_told_apart_by_key_and_adds_up():
    one, other = Quality(), Quality()
    v3, v4 = QualityKey(0, "wine", 3), QualityKey(0, "wine", 4, arm="treatment", slices=(("country", "de"),))
    for part, pairs in ((one, [(0.9, True)]), (other, [(0.2, True), (0.1, False)])):
        part.at(v3, ClassificationSums).add(  # type: ignore[union-attr]
            np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        )
    other.at(v4, RegressionSums).add(np.ones(2), np.zeros(2))  # type: ignore[union-attr]
    one.merge(other)
    assert one.sums[v3].figures()["accuracy"] == pytest.approx(2 / 3) and one.sums[v4].outcomes == 2
    one.merge(other)
    assert other.sums[v3].outcomes == 2 and one.sums[v3].outcomes == 5  # what was merged is not shared
    wrong = Quality()
    wrong.at(v4, ClassificationSums)
    with pytest.raises(StatisticsError, match="of classes"):
        one.merge(wrong)
    with pytest.raises(StatisticsError, match="three slices"):
        QualityKey(slices=(("a", ""),) * 4)


def test_what_does_not_add_up_with_what_was_told_last_is_left_out():
    good = quality(5, 3, 1)
    other = quality_record(QualityKey(model="forest"), ClassificationSums(0.4, predictions=7), 1, 4)
    numbers = quality_record(QualityKey(model="forest"), RegressionSums(predictions=7), 1, 4)
    none = msgspec.structs.replace(good, at=9, sums={"bins": [[300, 1, 1, 1.0]]})
    found = added_up([other, good, numbers, none, quality(3, 1, 3)])
    assert (found["outcomes"], found["accuracy"], found["coverage"]) == (8, 0.5, 0.5)
    assert added_up([none]) == added_up([]) == {}
    forged = [quality_record(QualityKey(), RegressionSums(1, 1, 1, squares=1.7e308), 1, at) for at in (4, 5)]
    assert added_up(forged)["predictions"] == 1
