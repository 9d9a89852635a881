"""Classifiers that answer a label alone: counted as those with probabilities too, as far as it goes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.settings.outcomes import JudgedType
from millrace.cli import app
from schemas.errors import SettingsError, StatisticsError
from schemas.lifecycle.quality import ALL
from tests.outcome_cases import JUDGING, key_of
from tests.unit.test_many_classes import KINDS, NAMES, WINDOW, joined, streamed, write_store
from udfs.io.s3 import S3Options
from udfs.lifecycle.outcomes.evidence import evidence
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.stored import stored_quality
from udfs.lifecycle.outcomes.version_figures import VersionFigures
from udfs.lifecycle.quality.exchange import added_up, from_plain, to_plain
from udfs.lifecycle.quality.labels import LabelSums
from udfs.lifecycle.quality.windows import read_sums, write_sums
from udfs.lifecycle.watching.watched_quality import QualityLimits, losses

LABELS = dataclasses.replace(JUDGING, score="label", kind="labels", classes=NAMES)
OF_PROBABILITIES = {"log_loss", "brier", "auc", "auc_binning_error", "auc_standard_error"}
OF_PROBABILITIES |= {"calibration_error"}


def test_labels_alone_are_counted_as_those_of_probabilities_and_from_the_store_too(tmp_path: Path) -> None:
    parts, known = joined(LABELS)
    records = streamed(LABELS, parts)
    full = {key_of(record): record for record in streamed(KINDS, joined(KINDS)[0])}
    assert {key_of(record) for record in records} == full.keys()
    for record in records:
        other = full[key_of(record)]
        assert record.kind == "labels" and record.sums["confusion"] == other.sums["confusion"]
        assert record.figures == {n: v for n, v in other.figures.items() if n not in OF_PROBABILITIES}
    (live,) = (r for r in records if r.window == ALL and not r.experiment and not r.candidate)
    assert live.figures["outcomes"] == len(known) and live.figures["unscored"] == 20
    write_store(tmp_path, LABELS, parts)
    stored = stored_quality(str(tmp_path / "wine"), S3Options(), window_ms=WINDOW, slices=("country",))
    told = {key_of(r): to_plain(from_plain(r.kind, r.sums)) for r in records}
    assert {key: to_plain(sums) for key, sums in stored.sums.items()} == told
    shown = CliRunner().invoke(app, ["quality", str(tmp_path / "wine"), "--by", "model", "--json"])
    assert json.loads(shown.output)["figures"] == pytest.approx(live.figures)
    table = CliRunner().invoke(app, ["quality", str(tmp_path / "wine")]).output
    assert "recall" in table and "auc" not in table
    right = round(live.figures["accuracy"] * len(known))
    assert losses(live, QualityLimits(0.5)) == (len(known), len(known) - right)
    assert added_up([live]) == live.figures
    versions = VersionFigures()
    found = {name: versions.figure(version, name) for version, name in versions.take([live])}
    assert found["accuracy_millionths"] == round(live.figures["accuracy"] * 1_000_000)


def test_experiments_learn_whether_the_label_was_right_and_nothing_of_probabilities() -> None:
    parts, _ = joined(LABELS)
    right, names = list[float | None](), set[str]()
    for part in parts:
        for found in evidence(part.closed, LABELS, 0):
            names |= found.values.keys()
            right += [value for value in found.values["correct"] if value is not None]
    of_probabilities = list[float | None]()
    for part in joined(KINDS)[0]:
        for found in evidence(part.closed, KINDS, 0):
            of_probabilities += [value for value in found.values["correct"] if value is not None]
    assert right == of_probabilities and 0 < sum(map(bool, right)) < len(right)
    assert not names & {"log_loss", "squared_error", "outcome", LABELS.label}


def test_what_is_none_of_the_labels_is_no_score() -> None:
    assert LABELS.score_of({"label": "virginica"}) == LABELS.score_of({"label": ["virginica"]}) == 2.0
    for odd in ("rose", None, 1, 0.5, ["setosa", "virginica"], {}, True):
        assert LABELS.score_of({"label": odd}) is None
    numbered = dataclasses.replace(LABELS, classes=(3, 4), score="labels[1]")
    assert numbered.score_of({"labels": [3, 4]}) == 1.0 and numbered.score_of({"labels[1]": 3.0}) == 0.0
    assert numbered.score_of({"labels": ["4", "4"]}) is None
    assert Judging.of_stored(LABELS.stored_score, LABELS.kept_as) == Judging(
        "label", kind="labels", classes=NAMES
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "of labels give `classes`"),
        ({"classes": ["a"]}, "2 to 64 classes"),
        ({"classes": ["a", "b"], "positive": "a"}, "no `positive`"),
        ({"classes": ["a", "b"], "score": "p({class})"}, "the output that says one of them"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(said: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        JudgedType.model_validate({"score": "label", "kind": "labels", **said}).judging()


def test_sums_of_other_labels_do_not_add_up_and_state_comes_back() -> None:
    sums = LabelSums(NAMES, predictions=3)
    assert to_plain(read_sums(write_sums(sums))) == to_plain(sums)
    with pytest.raises(StatisticsError, match="do not add up"):
        sums.merge(LabelSums(("a", "b")))
    for change in ({"classes": ["a"]}, {"confusion": [[3, 0, 1]]}, {"confusion": 5}, {"bins": 5}):
        with pytest.raises(StatisticsError, match="no sums of labels"):
            from_plain("labels", {**to_plain(sums), **change})
