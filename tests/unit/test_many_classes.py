"""Quality of classifiers of several classes: scikit-learn's figures, from the stream and from the store."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from jobs.settings.outcomes import JudgedType
from millrace.cli import app
from schemas.errors import SettingsError, StatisticsError, StoreError
from schemas.features.feature_batch import CREATED, TIMESTAMP
from schemas.lifecycle.quality import ALL, QualityRecord, read_message, write_message
from tests.outcome_cases import JUDGING, MemoryStore, batch, key_of, outcome, result
from udfs.io.s3 import S3Options
from udfs.lifecycle.outcomes.counting import Counter, counted_columns
from udfs.lifecycle.outcomes.evidence import evidence, values_of
from udfs.lifecycle.outcomes.fates import Fates
from udfs.lifecycle.outcomes.joining import Joined, Joining, Terms
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.progress import END
from udfs.lifecycle.outcomes.reading import Reader
from udfs.lifecycle.outcomes.rows import MODEL, to_rows
from udfs.lifecycle.outcomes.stored import stored_quality, told_apart_by
from udfs.lifecycle.outcomes.telling import KeptQuality
from udfs.lifecycle.outcomes.version_figures import VersionFigures
from udfs.lifecycle.quality.exchange import added_up, from_plain, quality_record, to_plain
from udfs.lifecycle.quality.many_classes import ManyClassesSums
from udfs.lifecycle.quality.windows import Quality, QualityKey, read_sums, write_sums
from udfs.lifecycle.watching.watched_quality import QualityLimits, losses

NAMES = ("setosa", "versicolor", "virginica")
KINDS = dataclasses.replace(JUDGING, score="p", classes=NAMES)
BY_NAME = dataclasses.replace(KINDS, score="probability({class})")
WINDOW, START, COUNT = 60_000, 1_790_000_000_000, 1_000


def joined(judging: Judging) -> tuple[list[Joined], dict[int, tuple[list[float], int]]]:
    """What is settled of results, some without a score, and outcomes, some missing and some corrected; and of
    each prediction that was scored and came to something its probabilities, and the class in force."""
    rng, results, outcomes, known = random.Random(3), [], [], {}
    for n in range(COUNT):
        drawn = np.random.default_rng(n).dirichlet((1, 1, 1)).tolist()
        named = {f"probability({name})": [p] for name, p in zip(NAMES, drawn, strict=True)}
        scores: dict[str, Any] = {"label": NAMES[int(np.argmax(drawn))], "p": drawn, **named}
        stamp: dict[str, Any] = {"scores": scores}
        if n % 2:
            stamp["experiments"] = {"e": {"arm": rng.choice(["control", "treatment"]), "step": 1}}
            stamp["answers"] = {"one": {"outcome": "scored", "version": 4, "scores": scores}}
        failed = {"outcome": "failed", "scores": {}} if n % 50 == 0 else {}
        results.append(result(n, START + n * 200, stamp={**stamp, **failed}))
        came = rng.choices(range(3), drawn)[0]
        if n % 5:
            outcomes.append(outcome(n, START + n * 200 + 1_000, NAMES[came]))
        if n % 7 == 1:
            came = rng.randrange(3)
            outcomes.append(outcome(n, START + n * 200 + 2_000, NAMES[came]))
        if (n % 5 or n % 7 == 1) and n % 50:
            known[n] = drawn, came
    reader, store, found = Reader({"wine": judging}, 1, 1), MemoryStore(), []
    for at in range(0, COUNT, 250):
        joining, some = Joining(Terms(window=10_000), store, Fates(), 0), slice(at, at + 250)
        for one in (reader.results(batch(results[some])), reader.outcomes(batch(outcomes[some]))):
            for delivery in one.deliveries.values():
                joining.results(delivery)
                joining.outcomes(delivery)
        found.append(joining.done())
    joining = Joining(Terms(window=10_000), store, Fates(), 0)
    for delivery in reader.outcomes(batch(outcomes[COUNT:])).deliveries.values():
        joining.outcomes(delivery)
    joining.close(END, END)
    return [*found, joining.done()], known


def streamed(judging: Judging, parts: list[Joined]) -> list[QualityRecord]:
    """As the job counts, with state written and restored in the middle, and messages written and read."""

    def new() -> KeptQuality:
        return KeptQuality(Counter("wine", judging, WINDOW), 1, WINDOW, 0)

    kept, state, told = new(), dict[str, bytes](), []
    for n, part in enumerate(parts):
        rows = to_rows(part.settled, judging, 0, counted_columns(judging))
        state |= dict(kept.add(rows, n))
        told += kept.tell(n)
        if n == 2:
            kept = new()
            kept.restore(None, list(state.items()), n)
    told += [*kept.close(99, lambda name: state.pop(name) and None, ended=True), *kept.tell(99)]
    newest = {record.key: record for record in told}
    return [read_message(QualityRecord, write_message(record)) for record in newest.values()]


def write_store(root: Path, judging: Judging, parts: list[Joined]) -> None:
    """As the job writes what was settled."""
    folder = root / "wine" / "dt=2026-09-21" / "model=forest"
    folder.mkdir(parents=True)
    rows = pa.Table.from_batches([to_rows(part.settled, judging, 0) for part in parts]).drop_columns([MODEL])
    for name in (TIMESTAMP, CREATED, "outcome_time"):
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, name, rows[name].cast(pa.timestamp("ms", "UTC")))
    pq.write_table(rows, folder / "part-0")


@pytest.fixture(params=[KINDS, BY_NAME], ids=["list", "by name"])
def judging(request: pytest.FixtureRequest) -> Judging:
    return request.param


def test_figures_are_those_of_scikit_learn_in_the_stream_and_from_the_store(
    judging: Judging, tmp_path: Path
) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    parts, known = joined(judging)
    records = streamed(judging, parts)
    (live,) = (r for r in records if r.window == ALL and not r.experiment and not r.candidate)
    scores, came = np.array([of[0] for of in known.values()]), np.array([of[1] for of in known.values()])
    said, figures = scores.argmax(axis=1), live.figures
    assert live.kind == "multiclass" and figures["outcomes"] == len(known) < figures["predictions"] == 980
    assert figures["unscored"] == 20
    precision, recall, _, _ = metrics.precision_recall_fscore_support(came, said)
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(came, said), rel=1e-12)
    assert figures["precision"] == pytest.approx(precision.mean(), rel=1e-12)
    assert figures["recall"] == pytest.approx(recall.mean(), rel=1e-12)
    for at, name in enumerate(NAMES):
        assert figures[f"precision({name})"] == pytest.approx(precision[at], rel=1e-12)
        assert figures[f"recall({name})"] == pytest.approx(recall[at], rel=1e-12)
    assert figures["log_loss"] == pytest.approx(metrics.log_loss(came, scores), rel=1e-9)
    apart = np.square(scores - (came[:, None] == np.arange(3))).sum(axis=1).mean()
    assert figures["brier"] == pytest.approx(apart, rel=1e-9)
    area = metrics.roc_auc_score(came, scores, multi_class="ovr", average="macro")
    assert abs(figures["auc"] - area) <= figures["auc_binning_error"] < 0.01
    assert figures["calibration_error"] < 0.1
    confusion = {(s, c): count for s, c, count in live.sums["confusion"]}  # type: ignore[union-attr]
    expected = metrics.confusion_matrix(came, said).T
    assert confusion == {(s, c): expected[s, c] for s in range(3) for c in range(3)}

    write_store(tmp_path, judging, parts)
    stored = stored_quality(str(tmp_path / "wine"), S3Options(), window_ms=WINDOW, slices=("country",))
    told = {key_of(r): from_plain(r.kind, r.sums) for r in records}
    assert stored.sums.keys() == told.keys() and {key.candidate for key in told} == {"", "one"}
    for key, sums in told.items():
        theirs = stored.sums[key]
        assert isinstance(sums, ManyClassesSums) and isinstance(theirs, ManyClassesSums)
        assert np.array_equal(sums.confusion, theirs.confusion)
        assert np.array_equal(sums.positives, theirs.positives)
        assert (sums.log_loss, sums.squares, sums.rests) == (theirs.log_loss, theirs.squares, theirs.rests)
        np.testing.assert_allclose(sums.score_sums, theirs.score_sums, rtol=1e-9, atol=1e-9)
    shown = CliRunner().invoke(app, ["quality", str(tmp_path / "wine"), "--by", "model", "--json"])
    found = json.loads(shown.output)["figures"]
    assert found.keys() == figures.keys() and found == pytest.approx(figures, rel=1e-9)


def test_evidence_and_figures_of_versions_count_the_class_that_is_said() -> None:
    parts, known = joined(KINDS)
    columns: dict[str, list[float | None]] = {"correct": [], "log_loss": [], "squared_error": []}
    for part in parts:
        for found in evidence(part.closed, KINDS, 0):
            assert not {"outcome", KINDS.label}.intersection(found.values)
            for name, values in columns.items():
                values += [v for v in found.values.get(name, ()) if v is not None]
    own = [(np.array(scores), came) for n, (scores, came) in known.items() if n % 2]
    assert columns["correct"] == [float(scores.argmax() == came) for scores, came in own]
    assert columns["log_loss"] == pytest.approx([-np.log(scores[came]) for scores, came in own])
    squares = [(np.square(scores - np.eye(3)[came])).sum() / 2 for scores, came in own]
    assert columns["squared_error"] == pytest.approx(squares)

    records = [r for r in streamed(KINDS, parts) if r.window == ALL and not r.experiment and not r.candidate]
    versions, right = VersionFigures(), sum(np.argmax(scores) == came for scores, came in known.values())
    found = {name: versions.figure(version, name) for version, name in versions.take(records)}
    assert found["outcomes"] == len(known)
    assert found["accuracy_millionths"] == round(right / len(known) * 1_000_000)
    assert losses(records[0], QualityLimits(0.5)) == (len(known), len(known) - right)
    assert added_up(records)["accuracy"] == pytest.approx(right / len(known))


ROWS = st.lists(st.tuples(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.integers(0, 2)), max_size=20)


def sums_of(rows: list[tuple[list[float], int]]) -> ManyClassesSums:
    sums = ManyClassesSums(NAMES)
    scores = np.array([of for of, _ in rows]).reshape(-1, 3)
    sums.add(scores, np.array([float(came) for _, came in rows]))
    return sums


@given(ROWS, ROWS)
@settings(max_examples=100)
def test_parts_add_up_and_travel(one: Any, other: Any) -> None:
    whole, left = sums_of([*one, *other]), sums_of(one)
    left.merge(read_sums(write_sums(sums_of(other))))  # type: ignore[arg-type]
    message = write_message(quality_record(QualityKey(), left, WINDOW, 0))
    plain = read_message(QualityRecord, message).sums
    left = from_plain("multiclass", plain)  # type: ignore[assignment]
    for name, value in whole.figures().items():
        assert left.figures()[name] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), name
    left.merge(sums_of(other), -1)
    assert (left.log_loss, left.squares) == (sums_of(one).log_loss, sums_of(one).squares)
    assert np.array_equal(left.confusion, sums_of(one).confusion)


def test_a_class_that_never_came_and_one_never_said_count_as_in_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    sums = sums_of([([0.9, 0.1, 0], 0), ([0.2, 0.8, 0], 0), ([0.6, 0.4, 0], 0)])
    figures, came, said = sums.figures(), [0, 0, 0], [0, 1, 0]
    assert figures["recall"] == metrics.recall_score(came, said, average="macro", zero_division=0)
    assert figures["precision"] == metrics.precision_score(came, said, average="macro", zero_division=0)
    assert np.isnan(figures["recall(versicolor)"]) and np.isnan(figures["precision(virginica)"])


@pytest.mark.parametrize("change", [{"threshold": 0.4}, {"kind": "numbers"}, {"classes": NAMES}])
def test_a_savepoint_of_other_settings_is_counted_anew(change: dict[str, Any]) -> None:
    """It ended the job after every restart."""
    parts, _ = joined(KINDS)
    rows = to_rows(parts[0].settled, KINDS, 0)
    before = dataclasses.replace(KINDS, classes=())
    after = dataclasses.replace(before, **change)
    for old, new in ((before, after), (after, before)):
        kept = KeptQuality(Counter("wine", old, WINDOW), 1, WINDOW, 0)
        state = dict(kept.add(rows, 0))
        kept = KeptQuality(Counter("wine", new, WINDOW), 1, WINDOW, 0)
        kept.restore(None, list(state.items()), 0)
        assert dict(kept.add(rows, 0)).keys() == state.keys()
        counted = Quality()
        Counter("wine", new, WINDOW).count(counted, rows)
        assert {key_of(r): r.figures for r in kept.tell(0)} == {
            key: quality_record(key, sums, WINDOW, 0).figures for key, sums in counted.sums.items()
        }


def test_what_waits_with_a_number_is_unscored_once_classes_are_judged() -> None:
    """No class has a score of 17.5, and the job ended."""
    parts, _ = joined(KINDS)
    rows = to_rows(parts[0].settled, KINDS, 0).to_pydict()
    waiting = pa.RecordBatch.from_pydict(rows | {"score": [17.5] * len(rows["score"])})
    quality = Quality()
    Counter("wine", dataclasses.replace(KINDS, classes=()), WINDOW).count(quality, waiting)
    own = [sums for key, sums in quality.sums.items() if not key.candidate]
    assert own and all(sums.predictions == 0 < sums.unscored for sums in own)

    waiting = pa.RecordBatch.from_pydict(rows | {"outcome": [12.5] * len(rows["outcome"])})
    quality = Quality()
    Counter("wine", dataclasses.replace(KINDS, classes=()), WINDOW).count(quality, waiting)
    assert all(
        sums.outcomes == 0 < sums.predictions for key, sums in quality.sums.items() if not key.candidate
    )

    one = parts[0].settled[0]
    number = msgspec.structs.replace(one, predicted=msgspec.structs.replace(one.predicted, score=17.5))
    assert one.came is not None and number.predicted.score == 17.5
    assert "squared_error" not in values_of(number, dataclasses.replace(KINDS, classes=()))


@pytest.mark.parametrize("new", [dataclasses.replace(KINDS, classes=()), KINDS], ids=["two", "several"])
def test_a_correction_of_what_was_counted_under_other_settings_ends_nothing(new: Judging) -> None:
    """The sums that begin anew had fewer than no positives, of which the error of an area has no root."""
    parts, _ = joined(KINDS)
    rows = to_rows(parts[0].settled, KINDS, 0)
    corrections = [n for n, fate in enumerate(rows.column("fate").to_pylist()) if fate == "correction"]
    kept = KeptQuality(Counter("wine", new, WINDOW), 1, WINDOW, 0)
    for n in corrections:
        assert list(kept.add(rows.slice(n, 1), 0))
        assert all(record.figures["predictions"] == 0 for record in kept.tell(0))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"p": [0.2, 0.3, 0.5]}, 0.5),
        ({"p": [1, 0, 0]}, 1.0),
        ({"p": [0.2, 0.3]}, None),
        ({"p": [0.2, 0.3, "0.5"]}, None),
        ({"p": [0.9, 0.8, 0.7]}, None),  # of labels that do not exclude each other
        ({"p": [2.5, -1, -0.5]}, None),
        ({"p": 0.5}, None),
        ({"q": [0.2, 0.3, 0.5]}, None),
    ],
)
def test_what_are_no_probabilities_is_no_score(scores: Any, expected: float | None) -> None:
    assert KINDS.score_of(scores) == expected
    listed = scores["p"] if isinstance(scores.get("p"), list) else []
    named = {f"probability({name})": p for name, p in zip(NAMES, listed, strict=False)}
    assert BY_NAME.score_of(named) == expected


def test_labels_are_of_the_classes_or_refused() -> None:
    numbered = dataclasses.replace(KINDS, classes=(3, 4, 5), score="probability({class})")
    assert numbered.outcome_of(4) == numbered.outcome_of(4.0) == 1.0
    assert numbered.score_of({"probability(3)": 0.1, "probability(4)": 0.2, "probability(5)": 0.7}) == 0.7
    yes = dataclasses.replace(KINDS, classes=(False, True), score="p_{class}")
    assert yes.outcome_of(True) == 1.0 and yes.score_of({"p_true": 0.75, "p_false": 0.25}) == 0.75
    zero = dataclasses.replace(KINDS, classes=(0, 1, 2))
    for judging, label in (
        (numbered, "4"), (numbered, 6), (numbered, 4.5), (KINDS, "rose"), (KINDS, None), (KINDS, ["setosa"]),
        (zero, True), (yes, 1), (yes, "true"), (KINDS, {}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="none of the classes, as"):
            judging.outcome_of(label)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"classes": ["a"]}, "2 to 64 classes, not 1"),
        ({"classes": [str(n) for n in range(65)]}, "not 65"),
        ({"classes": ["a", "b", "a"]}, "'a' is given twice"),
        ({"classes": ["1", 1]}, "'1' is given twice"),
        ({"classes": ["a", 1]}, "all text, all whole numbers"),
        ({"classes": ["a", "b"], "positive": "a"}, "no `positive`"),
        ({"classes": ["a", "b"], "without": 0}, "no `without`"),
        ({"classes": ["a", "b"], "kind": "numbers"}, "no kind .numbers."),
        ({"score": "p({class})"}, "give `classes`"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(said: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        JudgedType.model_validate({"score": "p", **said}).judging()


def test_stores_of_other_classes_are_not_added_up(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no classes are judged by"):
        Judging.of_stored("p", "multiclass")
    assert Judging.of_stored(KINDS.stored_score, KINDS.kept_as) == Judging("p", classes=NAMES)
    assert orjson.loads(KINDS.stored_score) == {"score": "p", "classes": list(NAMES)}
    quality = Quality({QualityKey(): ManyClassesSums(NAMES)})
    with pytest.raises(StatisticsError, match="do not add up"):
        quality.merge(Quality({QualityKey(): ManyClassesSums(("a", "b"))}))
    assert told_apart_by(Quality({QualityKey(): ManyClassesSums(NAMES)}), ()).sums


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["a"]},
        {"classes": 7},
        {"confusion": [[3, 0, 1]]},
        {"confusion": [[0, -1, 1]]},
        {"confusion": [[0, 0, "x"]]},
        {"confusion": [["a", 0, 1]]},
        {"bins": [[0, 64, 1, 1, 1.0]]},
        {"bins": [[0, 1, 1]]},
        {"bins": [7]},
        {"confusion": 5},
        {"score_sums": 5},
    ],
)
def test_sums_that_are_none_are_told(change: dict[str, Any]) -> None:
    plain = to_plain(sums_of([([0.9, 0.1, 0], 0)]))
    with pytest.raises(StatisticsError, match="no sums of multiclass"):
        from_plain("multiclass", {**plain, **change})
    with pytest.raises(StatisticsError):
        read_sums(write_sums(sums_of([]))[:-3])
