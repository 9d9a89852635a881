"""Watching streams: sums of windows are those of a profile, what changes is told once, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from millrace.cli import app
from schemas.errors import SettingsError, StateError, StatisticsError
from schemas.lifecycle.quality import QualityRecord
from schemas.lifecycle.window_statistics import WindowStatistics, read_window, write_window
from schemas.micro_batch import MicroBatch
from udfs.lifecycle.drift.alerts import ANOMALY, DRIFT, OUTLIER, Alert, read_envelope, sentence, write_alert
from udfs.lifecycle.drift.settings import DriftSettings
from udfs.lifecycle.quality.classification import ClassificationSums
from udfs.lifecycle.quality.exchange import quality_record
from udfs.lifecycle.quality.regression import RegressionSums
from udfs.lifecycle.quality.windows import QualityKey
from udfs.lifecycle.statistics.exchange import from_proto, to_proto
from udfs.lifecycle.statistics.exchange import messages as exchange_messages
from udfs.lifecycle.statistics.profile import profile
from udfs.lifecycle.statistics.table import TableStatistics, read_statistics, write_statistics
from udfs.lifecycle.watching.outlier_rules import OutlierRule
from udfs.lifecycle.watching.series import UNTIMED, PartialWindow, Series, read_partial, write_partial
from udfs.lifecycle.watching.training_sets import TrainingPlaces
from udfs.lifecycle.watching.watched_quality import (
    QualityLimits,
    QualitySpec,
    losses,
    quality_alert,
    read_version_quality,
    watch_quality,
    write_version_quality,
)
from udfs.lifecycle.watching.watched_series import JudgeSpec, Told, WatchedSeries, read_episodes
from udfs.lifecycle.watching.window_counting import FUTURE_MS, CountSpec, WindowCounting
from udfs.lifecycle.watching.window_messages import added_up, messages

WINDOW = 60_000
NOW = 1_800_000_000_000
START = 1_700_000_040_000


def rows(n: int, seed: int, shift: float = 0.0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=n) + shift).tolist(), rng.normal(size=n).tolist()
    colours = rng.choice(["red", "blue"], n).tolist()
    return [
        {"x": a, "y": b, "colour": c, "odd": None if i % 7 else [1]}
        for i, (a, b, c) in enumerate(zip(x, y, colours, strict=True))
    ]


TRAINING = profile(lambda: [rows(20_000, 0)])


@pytest.fixture
def place(tmp_path: Path) -> str:
    file = tmp_path / "wine.statistics"
    file.write_bytes(write_statistics(TRAINING))
    return str(file)


def batch(
    payloads: Sequence[bytes], times: Sequence[int | None], data_type: str = "wine", partition: int = 0
) -> MicroBatch:
    n = len(payloads)
    return MicroBatch(data_type, "t", payloads, [partition] * n, list(range(n)), times)


def result(record: dict[str, Any], time: int | None, version: int = 3, **scores: Any) -> bytes:
    stamp = {"data_type": "wine", "model": "forest", "version": version, "event_time": time, "scores": scores}
    return orjson.dumps({**record, "millrace": stamp})


def counting(**more: Any) -> WindowCounting:
    spec = CountSpec(**({"of": "records", "window_ms": WINDOW} | more))
    return spec.counting(spec.training_sets())


def series(partial_of: Series, place: str, **more: Any) -> WatchedSeries:
    spec = JudgeSpec(
        **(
            {"name": "w", "of": "records", "window_ms": WINDOW, "places": TrainingPlaces({"wine": place})}
            | more
        )
    )
    return WatchedSeries(partial_of, spec.training_sets().of_series(partial_of, NOW), spec)


def windows(told: Iterable[Told]) -> list[WindowStatistics]:
    return [one for one in told if isinstance(one, WindowStatistics)]


def alerts(told: Iterable[Told]) -> list[Alert]:
    return [one for one in told if isinstance(one, Alert)]


def test_sums_over_instances_and_windows_are_those_of_a_profile(place: str) -> None:
    sent = rows(3_000, 1)
    payloads, times = list(map(orjson.dumps, sent)), [START + i * 50 for i in range(3_000)]
    instances = [counting(places=TrainingPlaces({"wine": place})) for _ in range(2)]
    for at in range(0, 3_000, 250):
        part = batch(payloads[at : at + 250], times[at : at + 250])
        instances[at // 250 % 2].add(part, NOW)
    (own,) = {series for instance in instances for series, _ in instance.take()}
    for at in range(0, 3_000, 250):
        instances[at // 250 % 2].add(batch(payloads[at : at + 250], times[at : at + 250]), NOW)
    watched = series(own, place, early=False)
    told: list[Told] = []
    for instance in instances:
        for _, partial in instance.take():
            told += watched.merge(read_partial(write_partial(partial)), -(2**63), NOW)
        assert not instance.take()
    told += watched.close(2**62, NOW)
    assert [(w.start - START, w.rows) for w in windows(told)] == [(0, 1200), (60_000, 1200), (120_000, 600)]
    found = added_up(read_window(write_window(w)) for w in windows(told))
    expected = TableStatistics.counted_in(TRAINING.bins())
    expected.add(sent)
    assert found.rows == expected.rows and found.features.keys() == expected.features.keys()
    for name, feature in expected.features.items():
        other = found.features[name]
        for field in ("rows", "absent", "nulls", "nested", "flags", "texts", "infinite", "fractions", "bins"):
            assert getattr(other, field) == getattr(feature, field), (name, field)
        assert other.number_counts.tolist() == feature.number_counts.tolist()
        assert other.text_counts.tolist() == feature.text_counts.tolist()
        assert other.frequent == feature.frequent and other.distinct() == feature.distinct()
        assert other.numbers.count == feature.numbers.count and other.numbers.least == feature.numbers.least
        assert other.numbers.mean == pytest.approx(feature.numbers.mean, rel=1e-9)
        assert other.numbers.squares == pytest.approx(feature.numbers.squares, rel=1e-9)


def test_results_are_told_apart_by_version_and_time(place: str) -> None:
    counted = counting(of="results", places=TrainingPlaces({"wine": place}))
    sent = [
        result({"x": 1.0}, START, 3, quality=5.0),
        result({"x": 2.0}, START + WINDOW, 3, quality=[0.1, 0.9]),
        result({"x": 3.0}, START, 4, quality=6.0),
        b'{"x": 1}',
        result({"x": 4.0}, None),
        result({"x": 5.0}, NOW + FUTURE_MS + 1),
    ]
    assert counted.add(batch(sent, [START] * 6), NOW) == {("t", 0): START + WINDOW}
    found = {(s.model, s.version, p.start): p for s, p in counted.take()}
    assert {key: (p.statistics.rows, p.unreadable) for key, p in found.items()} == {
        ("forest", 3, START): (1, 0),
        ("forest", 3, START + WINDOW): (1, 0),
        ("forest", 4, START): (1, 0),
        ("", 0, START): (0, 1),
        ("forest", 3, UNTIMED): (2, 0),
    }
    names = found["forest", 3, START + WINDOW].statistics.features
    assert names["scores.quality.0"].numbers.mean == 0.1 and names["x"].numbers.mean == 2.0
    assert names["y"].absent == 1 and names["x"].bins == TRAINING.features["x"].bins

    bare = counting(of="results", with_fields=False, places=TrainingPlaces({"wine": place}))
    bare.add(batch(sent[:1], [START]), NOW)
    assert set(bare.take()[0][1].statistics.features) == {"scores.quality"}


@pytest.mark.parametrize(
    "odd",
    [
        {"scores": [1.0]},
        {"scores": "x"},
        {"scores": 3},
        {"data_type": ["wine"]},
        {"model": {"a": 1}},
        {"model": "m" * 1_001},
    ],
)
def test_a_result_that_no_job_writes_is_unreadable(odd: dict[str, Any]) -> None:
    counted = counting(of="results")
    stamp = {"data_type": "wine", "model": None, "version": 3, "event_time": START, "scores": None}
    sent = [orjson.dumps({"x": 1, "millrace": stamp | some}) for some in (odd, {})]
    counted.add(batch(sent, [START] * 2), NOW)
    found = {(s.data_type, s.model): (p.statistics.rows, p.unreadable) for s, p in counted.take()}
    assert found == {("", ""): (0, 1), ("wine", ""): (1, 0)}


def test_times_before_1970_are_none() -> None:
    counted = counting(time_fields={"wine": "at"})
    counted.add(batch([b'{"at": "1970-01-01T00:00:00+01:00"}'], [NOW]), NOW)
    assert [p.start for _, p in counted.take()] == [UNTIMED]


@pytest.mark.parametrize(
    "model", ["x\0y", "a" * 5_000, "folder", "junk", "../secret", "..", "a/../../secret"]
)
def test_a_model_whose_training_set_cannot_be_had_is_watched_without(
    tmp_path: Path, place: str, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    profiles = tmp_path / "profiles"
    (profiles / "folder").mkdir(parents=True)
    (profiles / "junk").write_bytes(b"junk")
    other = write_statistics(profile(lambda: [rows(50, 9)]))
    (tmp_path / "secret").write_bytes(other)
    sets = CountSpec(
        of="results", window_ms=WINDOW, places=TrainingPlaces({"tea": place}, f"{profiles}/{{model}}")
    ).training_sets()
    for now in (0, 10_000):
        assert sets.of("wine", model, 3, now) is None
    assert len(caplog.messages) == (1 if model in ("a" * 5_000, "folder", "junk") else 0)
    of_type = sets.of("tea", model, 3, 0)
    assert of_type is not None and of_type.table.rows == 20_000
    (profiles / "good").mkdir()
    (profiles / "good" / "one").write_bytes(other)
    found = sets.of("wine", "good/one", 3, 0)
    assert found is not None and found.table.rows == 50
    (profiles / "good" / "one").write_bytes(b"junk")
    assert sets.of("wine", "good/one", 3, 10_000) is found  # what was read stays


def test_a_name_in_a_url_is_no_part_of_its_path(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(write_statistics(TRAINING))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "100% {version}?").write_bytes(write_statistics(TRAINING))
    places = TrainingPlaces({}, (tmp_path / "profiles").as_uri() + "/{model}")
    sets = CountSpec(of="results", window_ms=WINDOW, places=places).training_sets()
    assert sets.of("wine", "%2e%2e%2fsecret", 3, 0) is None
    assert sets.of("wine", "100% {version}?", 3, 0) is not None


def test_what_is_declared_and_no_training_set_is_said_before_a_job_starts(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk")
    sets = CountSpec(
        of="records", window_ms=WINDOW, places=TrainingPlaces({"wine": str(tmp_path / "junk")})
    ).training_sets()
    with pytest.raises(StatisticsError, match="junk: these are no statistics"):
        sets.check()


def test_statistics_of_others_are_a_training_set(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_metadata")
    place, junk = tmp_path / "wine.pb", tmp_path / "tea.pb"
    place.write_bytes(to_proto(TRAINING).SerializeToString())
    junk.write_bytes(b"junk")
    places = TrainingPlaces({"wine": str(place), "tea": str(junk)})
    sets = CountSpec(of="records", window_ms=WINDOW, places=places).training_sets()
    found = sets.of("wine", "", 0, NOW)
    assert found is not None and found.bins == TRAINING.bins() and sets.of("tea", "", 0, NOW) is None
    watched = series(Series("wine", training=found.digest), str(place))
    assert not merged(watched, START, rows(5_000, 1))
    (alert,) = alerts(merged(watched, START, rows(5_000, 2, 1.0)))
    assert alert.about == ("drift/x",)


def test_nothing_to_compare_is_no_drift(place: str) -> None:
    sets = TrainingPlaces({"wine": place}, ignored={"wine": ("x", "y", "colour", "odd")})
    found = CountSpec(of="records", window_ms=WINDOW, places=sets).training_sets().of("wine", "", 0, NOW)
    assert found is not None and not found.table.features
    watched = series(Series("wine", training=found.digest), place, places=sets)
    table = TableStatistics()
    table.add(rows(50, 1))
    told = list(watched.merge(PartialWindow(start=START, statistics=table), 0, NOW))
    assert not alerts([*told, *watched.close(2**62, NOW)])


def test_a_field_of_the_record_can_say_when() -> None:
    counted = counting(time_fields={"wine": "at"})
    texts = [b'{"at": 1700000040001}', b'{"at": "2023-11-14T22:14:00Z"}', b'{"at": "soon"}', b"{}"]
    counted.add(batch(texts, [NOW] * 4), NOW)
    assert {p.start: p.statistics.rows for _, p in counted.take()} == {START: 2, UNTIMED: 2}


def merged(watched: WatchedSeries, start: int, sent: list[dict[str, Any]], watermark: int = 0) -> list[Told]:
    table = TableStatistics.counted_in(TRAINING.bins())
    table.add(sent)
    return list(watched.merge(PartialWindow(start=start, statistics=table), watermark, NOW))


def wine(place: str, **more: Any) -> WatchedSeries:
    spec = CountSpec(of="records", window_ms=WINDOW, places=TrainingPlaces({"wine": place}))
    found = spec.training_sets().of("wine", "", 0, NOW)
    assert found is not None
    return series(Series("wine", training=found.digest), place, **more)


def test_drift_is_told_of_within_its_window_and_once_an_episode(place: str) -> None:
    watched = wine(place)
    assert not merged(watched, START, rows(5_000, 1))
    (alert,) = alerts(merged(watched, START, rows(5_000, 2, 1.0)))
    assert (alert.type, alert.about, alert.start) == (DRIFT, ("drift/x",), START)
    assert alert.drift[0].share == 1 and "x drifts up" in sentence(alert)
    assert not merged(watched, START, rows(5_000, 3, 1.0))
    first = windows(watched.close(START + WINDOW, NOW))
    assert [(w.drifting, w.rows) for w in first] == [(("x",), 15_000)]
    assert not alerts(merged(watched, START + WINDOW, rows(5_000, 4, 1.0)))
    assert watched.episodes.since == {"x": START}
    list(watched.close(START + 2 * WINDOW, NOW))
    merged(watched, START + 2 * WINDOW, rows(5_000, 5))
    list(watched.close(START + 3 * WINDOW, NOW))
    assert not watched.episodes.since and "drift/x" not in watched.episodes.said
    (again,) = alerts(merged(watched, START + 3 * WINDOW, rows(5_000, 6, 1.0)))
    assert again.drift[0].since == START + 3 * WINDOW


def test_what_was_counted_is_compared_once_its_training_set_can_be_read(place: str) -> None:
    spec = JudgeSpec(name="w", of="records", window_ms=WINDOW, places=TrainingPlaces({"wine": place}))
    training = spec.training_sets().of("wine", "", 0, NOW)
    assert training is not None
    watched = WatchedSeries(Series("wine", training=training.digest), None, spec)
    assert watched.lacks_training and not merged(watched, START, rows(5_000, 1, 1.0))
    watched.compare_with(training)
    assert not watched.lacks_training
    (alert,) = alerts(merged(watched, START, rows(5_000, 2, 1.0)))
    assert alert.about == ("drift/x",)
    assert not WatchedSeries(Series("wine"), None, spec).lacks_training


def test_more_findings_than_a_message_takes_are_several_alerts(tmp_path: Path) -> None:
    wide = [{f"feature {k}": "\N{SNOWMAN}" * 200 + str(row % 2) for k in range(1_100)} for row in range(20)]
    other = [{name: value * 2 for name, value in row.items()} for row in wide]
    file = tmp_path / "wide"
    file.write_bytes(write_statistics(profile(lambda: [wide * 50])))
    places, drift = TrainingPlaces({"wine": str(file)}), DriftSettings(window=200)
    spec = JudgeSpec(name="w", of="records", window_ms=WINDOW, places=places, drift=drift)
    training = spec.training_sets().of("wine", "", 0, NOW)
    assert training is not None
    watched = WatchedSeries(Series("wine", training=training.digest), training, spec)
    table = TableStatistics.counted_in(training.bins)
    table.add(other * 10)
    told = [*watched.merge(PartialWindow(start=START, statistics=table), 0, NOW), *watched.close(2**62, NOW)]
    found = alerts(told)
    assert {kind: sum(len(a.about) for a in found if a.type == kind) for kind in (DRIFT, ANOMALY)} == {
        DRIFT: 1_100,
        ANOMALY: 1_100,
    }
    assert max(len(write_alert(one, "w", NOW)) for one in found) < 1_000_000
    assert len({read_envelope(write_alert(one, "w", NOW)).id for one in found}) == len(found)


def test_what_lasts_is_told_again_where_that_is_wanted(place: str) -> None:
    watched = wine(place, repeat_ms=2 * WINDOW, early=False)
    told = []
    for number in range(4):
        merged(watched, START + number * WINDOW, rows(5_000, number, 1.0))
        told.append(len([a for a in alerts(watched.close(START + (number + 1) * WINDOW, NOW)) if a.drift]))
    assert told == [1, 0, 1, 0]


def test_anomalies_are_told_of_when_a_window_ends(place: str) -> None:
    watched = wine(place, places=TrainingPlaces({"wine": place}))
    sent = [{**row, "new": 1, "colour": "green"} for row in rows(500, 1)]
    merged(watched, START, sent)
    found = [a for a in alerts(watched.close(START + WINDOW, NOW)) if a.type == ANOMALY]
    assert found[0].about == ("new_categories/colour", "new_field/new")
    merged(watched, START + WINDOW, sent)
    assert not [a for a in alerts(watched.close(START + 2 * WINDOW, NOW)) if a.type == ANOMALY]


def test_fields_that_are_always_new_are_counted_together_and_told_of_as_one(place: str) -> None:
    counted = counting(places=TrainingPlaces({"wine": place}), most_fields=60)
    for part in range(3):
        sent = [orjson.dumps({**row, f"id {part} {k}": 1}) for k, row in enumerate(rows(100, part))]
        counted.add(batch(sent, [START] * 100), NOW)
    ((own, partial),) = counted.take()
    assert len(partial.statistics.features) == 64 and partial.statistics.others == 240
    watched = series(own, place)
    told = [*watched.merge(read_partial(write_partial(partial)), 0, NOW), *watched.close(2**62, NOW)]
    (window,) = windows(told)
    assert (window.rows, window.others) == (300, 240) and added_up([window]).others == 240
    (alert,) = alerts(told)
    assert len(alert.anomalies) == 51 and alert.about[0] == "new_field/"
    assert alert.anomalies[0].records == 250 and "250 values of other fields" in sentence(alert)


def test_ignored_features_are_neither_compared_nor_new(place: str) -> None:
    places = TrainingPlaces({"wine": place}, ignored={"wine": ("x", "colour")})
    found = JudgeSpec(name="w", of="records", window_ms=WINDOW, places=places).training_sets()
    training = found.of("wine", "", 0, NOW)
    assert training is not None and set(training.bins) == {"y", "odd"}
    watched = series(Series("wine", training=training.digest), place, places=places)
    table = TableStatistics.counted_in(training.bins)
    table.add(rows(5_000, 1, 3.0))
    told = [*watched.merge(PartialWindow(start=START, statistics=table), 0, NOW), *watched.close(2**62, NOW)]
    assert not [a for a in alerts(told) if "x" in str(a.about) or "colour" in str(a.about)]


def test_late_and_untimed_records_are_told_of_by_themselves(place: str) -> None:
    watched = wine(place)
    merged(watched, START, rows(100, 1))
    told = windows(watched.close(START + WINDOW - 1, NOW))
    told += windows(merged(watched, START, rows(10, 2), START + WINDOW - 1))
    told += windows(merged(watched, UNTIMED, rows(1, 3)))
    assert [(w.start, w.end, w.rows, w.late) for w in told] == [
        (START, START + WINDOW, 100, False),
        (START, START + WINDOW, 10, True),
        (UNTIMED, UNTIMED, 1, True),
    ]
    assert not watched.windows


def test_single_outliers_are_shown_up_to_a_bound_and_counted(place: str) -> None:
    rules = (OutlierRule("y", deviations=6.0), OutlierRule("x", high=100.0))
    counted = counting(rules={"wine": rules}, places=TrainingPlaces({"wine": place}))
    sent = [{"y": 50.0} for _ in range(15)] + [{"y": 0.0}, {"x": 101}, {"x": "101"}, {"x": True}]
    counted.add(batch(list(map(orjson.dumps, sent)), [START] * len(sent)), NOW)
    ((own, partial),) = counted.take()
    assert partial.broken == {"y": 15, "x": 1} and len(partial.outliers) == 11
    watched = series(own, place)
    (alert,) = [a for a in alerts(watched.merge(partial, 0, NOW)) if a.type == OUTLIER]
    assert alert.about[-1] == "x@t/0/16" and "x is 101 in t 0/16" in sentence(alert)
    assert windows(watched.close(2**62, NOW))[0].broken == {"y": 15, "x": 1}
    with pytest.raises(SettingsError, match="low 2"):
        OutlierRule("x", low=2.0, high=1.0)


def test_a_training_set_that_changes_makes_another_series(place: str) -> None:
    spec = CountSpec(of="records", window_ms=WINDOW, places=TrainingPlaces({"wine": place}), again_ms=100)
    sets = spec.training_sets()
    before = sets.of("wine", "", 0, 0)
    Path(place).write_bytes(write_statistics(profile(lambda: [rows(50, 9)])))
    assert sets.of("wine", "", 0, 99) is before
    after = sets.of("wine", "", 0, 100)
    assert before is not None and after is not None and before.digest != after.digest
    assert sets.of_series(Series("wine", training=before.digest), 100) is None
    Path(place).write_bytes(b"nothing")
    assert sets.of("wine", "", 0, 300) is after
    unjudged = WatchedSeries(
        Series("wine", training=before.digest), None, JudgeSpec(name="w", of="records", window_ms=WINDOW)
    )
    assert not alerts([*merged(unjudged, START, rows(5_000, 1, 3.0)), *unjudged.close(2**62, NOW)])


def test_a_model_version_has_its_own_training_set(tmp_path: Path, place: str) -> None:
    own = tmp_path / "forest-3.statistics"
    own.write_bytes(write_statistics(profile(lambda: [rows(100, 4)])))
    places = TrainingPlaces({"wine": place}, str(tmp_path / "{model}-{version}.statistics"))
    sets = CountSpec(of="results", window_ms=WINDOW, places=places).training_sets()
    three, four, records = (sets.of("wine", *which, 0) for which in (("forest", 3), ("forest", 4), ("", 0)))
    assert three is not None and four is not None and records is not None
    assert three.table.rows == 100 and four.table.rows == records.table.rows == 20_000


def test_a_window_of_many_features_comes_in_parts() -> None:
    wide = [{f"feature {k}": float(i * k) for k in range(3_000)} for i in range(20)]
    table = profile(lambda: [wide])
    head = WindowStatistics(of="records", data_type="wine", start=0, end=1, rows=20)
    sent = [read_window(write_window(one)) for one in messages(head, table)]
    assert len(sent) > 1 and max(len(write_window(one)) for one in sent) < 1_000_000
    assert added_up(sent).features.keys() == table.features.keys()
    again = [msgspec.structs.replace(one, at=1) for one in sent]
    assert added_up([*sent, *again]).rows == 20  # told of twice after a failure
    late = [msgspec.structs.replace(one, late=True, addition=k) for k in (1, 2) for one in sent]
    assert added_up([*sent, *late]).rows == 60
    with pytest.raises(StatisticsError, match="lacks 1 of its"):
        added_up(sent[1:])


def test_alerts_have_one_id_however_far_the_window_had_come(place: str) -> None:
    ids = []
    for count in (4_000, 6_000):
        watched = wine(place)
        (alert,) = alerts(merged(watched, START, rows(count, 1, 1.0)))
        ids.append(read_envelope(write_alert(alert, "job", NOW)).id)
    assert ids[0] == ids[1]
    assert read_envelope(write_alert(alert, "other job", NOW)).id != ids[0]


@pytest.mark.parametrize("read", [read_partial, read_episodes])
def test_other_bytes_are_no_state(read: Any) -> None:
    with pytest.raises(StateError, match="these bytes are no"):
        read(b"\x01")
    assert read_statistics(write_statistics(TRAINING)).rows == 20_000
    odd = profile(lambda: [rows(50, 9)])
    odd.features["x"].number_counts = odd.features["x"].number_counts[1:]
    with pytest.raises(StatisticsError, match="'x' are not those of its bins"):
        read_statistics(write_statistics(odd))


def quality(window: int, right: int, wrong: int, **more: Any) -> QualityRecord:
    sums = ClassificationSums()
    sums.add(np.array([0.9] * right + [0.1] * wrong), np.ones(right + wrong, bool))
    told = {"window": window, "model": "forest", "version": 3} | more
    key = QualityKey(**told, data_type="wine")
    return quality_record(key, sums, WINDOW, NOW, closed=True)


def test_a_version_that_gets_worse_is_told_of_once_with_when_it_began() -> None:
    spec = QualitySpec("w", {"wine": QualityLimits(0.1)})
    state, told = None, []
    for number in range(40):
        wrong = 8 if number < 20 else 30  # of 100, where 10 are still good
        record = quality(START + number * WINDOW, 100 - wrong, wrong)
        assert watch_quality(spec, msgspec.structs.replace(record, closed=False), state) is None
        state = watch_quality(spec, record, state)
        assert state is not None and watch_quality(spec, record, state) is None  # a repeat
        if (alert := quality_alert(record, state, spec.limits["wine"])) is not None:
            told.append(alert)
        state = read_version_quality(write_version_quality(state))
    (alert,) = told
    assert START + 20 * WINDOW <= alert.start <= START + 23 * WINDOW
    assert alert.quality[0].since == START + 20 * WINDOW and alert.quality[0].observed == 0.3
    assert (alert.model, alert.version) == ("forest", 3) and "above 0.1" in sentence(alert)
    assert watch_quality(spec, quality(START, 0, 9, experiment="e"), None) is None
    assert watch_quality(spec, quality(-1, 0, 9), None) is None


def test_a_window_that_is_told_of_in_many_slices_is_one_batch() -> None:
    """Each message was one: with a hundred slices `patience` was a hundred times shorter than it says."""
    spec, limits = QualitySpec("w", {"wine": QualityLimits(0.1)}), QualityLimits(0.1)
    whole, parts, alert = None, None, None
    for number in range(12):
        window = START + number * WINDOW
        wrong = 10 if number < 8 else 30
        whole = watch_quality(spec, quality(window, 100 - wrong, wrong), whole)
        for n in range(10):
            record = quality(window, 10 - wrong // 10, wrong // 10, slices=(("country", str(n)),))
            parts = watch_quality(spec, record, parts)
            assert parts is not None
            parts = read_version_quality(write_version_quality(parts))
            alert = alert or quality_alert(record, parts, limits)
        assert whole is not None and parts is not None
        assert parts.detector.log_sums == pytest.approx(whole.detector.log_sums)
        assert (parts.detector.batches, parts.windows) == (whole.detector.batches, whole.windows)
    assert alert is not None and alert.quality[0].observed == pytest.approx(0.3)
    assert alert.quality[0].since == START + 8 * WINDOW


def test_a_repeat_is_known_in_whatever_many_slices_and_partitions_windows_are_told_of() -> None:
    """Beyond 1,000 messages of a version it counted once more, as evidence against it."""
    spec = QualitySpec("w", {"wine": QualityLimits(0.1)})
    state, told = None, list[tuple[QualityRecord, str]]()

    def takes(record: QualityRecord, place: str) -> bool:
        nonlocal state
        found = watch_quality(spec, record, state, place)
        state = found or state
        return found is not None

    for number in range(3):
        slices = [(("country", str(n)),) for n in range(700)]
        records = [quality(START + number * WINDOW, 1, 0, slices=one) for one in slices]
        told += [(record, f"quality/{n % 2}") for n, record in enumerate(records)]
    told.sort(key=lambda one: one[1])  # one partition is read far ahead of the other
    half = len(told) // 2
    assert all(takes(*one) for one in told[:half])
    assert not any(takes(*one) for one in told[:half])  # the job has failed, and tells them once more
    assert all(takes(*one) for one in told[half:])
    assert state is not None
    before, state = write_version_quality(state), read_version_quality(write_version_quality(state))
    assert not any(takes(*one) for one in told)
    assert write_version_quality(state) == before
    assert takes(quality(START + 3 * WINDOW, 1, 0), "quality/1")


@pytest.mark.parametrize("now", [QualityLimits(0.4), QualityLimits(0.05, patience=5.0)])
def test_other_limits_count_from_the_restart_on(now: QualityLimits) -> None:
    before, state = QualitySpec("w", {"wine": QualityLimits(0.1)}), None
    for number in range(20):
        state = watch_quality(before, quality(START + number * WINDOW, 70, 30), state)
    assert state is not None and state.detector.alarmed
    record = quality(START + 20 * WINDOW, 70, 30)
    state = watch_quality(QualitySpec("w", {"wine": now}), record, state)
    assert state is not None and state.detector.batches == 1 and state.windows == {0: record.window}
    assert (state.detector.baseline, state.detector.patience) == (now.baseline, now.patience)
    repeat = quality(START, 70, 30)  # what was counted before the restart is known
    assert watch_quality(QualitySpec("w", {"wine": now}), repeat, state) is None


def test_another_error_that_is_still_right_counts_from_the_restart_on() -> None:
    """Predictions that had been wrong by the old one stayed evidence against the version."""
    sums = RegressionSums()
    sums.add(np.array([1.0, 9.0]), np.array([1.0, 2.0]))
    state = None
    for number, error in enumerate([1.0, 1.0, 10.0]):
        key = QualityKey(window=START + number * WINDOW, data_type="wine", model="line", version=1)
        record = quality_record(key, sums, WINDOW, NOW, closed=True)
        state = watch_quality(QualitySpec("w", {"wine": QualityLimits(0.1, error)}), record, state)
        assert state is not None
        state = read_version_quality(write_version_quality(state))
        assert state.detector.batches == (number + 1 if error == 1.0 else 1)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("told", [{"window": 2**70}, {"window": -2}, {"sums": True}])
def test_messages_about_quality_that_cannot_be_are_refused(kind: Any, told: dict[str, Any]) -> None:
    spec = QualitySpec("w", {"wine": QualityLimits(0.1, error=0.5)})
    sums: list[dict[str, Any]] = [{}]
    if "sums" in told and kind == "classes":
        sums = [{"bins": [[0.5, 1, 1, 1]]}, {"bins": [[3, 2**70, 1, 1]]}, {"true_positives": -1, "bins": []}]
        sums += [{"true_positives": 2**2000, "bins": []}, {"true_positives": 0.5, "bins": []}]
    elif "sums" in told:
        sums = [{"outcomes": 1, "errors": [[at, 2]]} for at in (10**9, 10**400, -(10**9), 300)]
        sums += [{"outcomes": -3, "errors": []}, {"outcomes": 1.5, "errors": [[1, 10**400]]}]
    for some in sums:
        empty = "bins" if kind == "classes" else "errors"
        record = QualityRecord(
            data_type="wine", window_ms=WINDOW, kind=kind, closed=True, **({"window": START} | told)
        )
        with pytest.raises(StatisticsError):
            watch_quality(spec, msgspec.structs.replace(record, sums=some or {empty: []}), None)


def test_of_numbers_a_prediction_is_wrong_that_is_off_by_more_than_declared() -> None:
    sums = RegressionSums()
    sums.add(np.array([1.0, 2.0, 9.0]), np.array([1.0, 2.5, 2.0]))
    record = quality_record(QualityKey(window=START, data_type="wine"), sums, WINDOW, NOW, closed=True)
    assert losses(record, QualityLimits(0.1, error=1.0)) == (3, 1)
    assert losses(record, QualityLimits(0.1, error=0.1)) == (3, 2)
    assert losses(record, QualityLimits(0.1)) is None


def test_the_command_lists_windows_and_adds_them_up(tmp_path: Path) -> None:
    sent, folder = [rows(200, seed) for seed in (1, 2)], tmp_path / "statistics"
    folder.mkdir()
    lines = []
    for number, some in enumerate(sent):
        table = TableStatistics.counted_in(TRAINING.bins())
        table.add(some)
        start = START + number * WINDOW
        head = WindowStatistics(of="records", data_type="wine", start=start, end=start + WINDOW, rows=200)
        lines += [write_window(one) for one in messages(head, table)]
    (folder / "part").write_bytes(b"\n".join(lines) + b"\n")
    command = ["statistics", "--from-folder", str(folder)]
    listed = CliRunner().invoke(app, command)
    first = "wine records, 2023-11-14T22:14:00Z to 2023-11-14T22:15:00Z: 200 records"
    assert listed.stdout.splitlines()[0] == first and len(listed.stdout.splitlines()) == 2
    for options, count in (([], 400), (["--from", "2023-11-14T22:15:00"], 200)):
        done = CliRunner().invoke(app, [*command, "--to", str(tmp_path / "all"), *options])
        assert done.exit_code == 0, done.output
        assert read_statistics((tmp_path / "all").read_bytes()).rows == count
    assert CliRunner().invoke(app, [*command, "--to", str(tmp_path / "all.pb")]).exit_code == 0
    proto = from_proto(
        exchange_messages().DatasetFeatureStatisticsList.FromString((tmp_path / "all.pb").read_bytes())
    )
    assert proto.rows == 400
    none = CliRunner().invoke(app, [*command, "--data-type", "tea", "--to", str(tmp_path / "x")])
    assert none.exit_code == 1 and "there are none" in none.output
