"""What an experiment would have made of stored predictions: the controller, asked in the order of time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import orjson
import pyarrow as pa

from schemas.errors import ExperimentError
from schemas.features.feature_batch import TIMESTAMP
from schemas.lifecycle.experiments import ExperimentEvent
from udfs.io.s3 import S3Options
from udfs.lifecycle.experiments.assignment import drawn, in_population, shares_of_step
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory
from udfs.lifecycle.experiments.declaration import Arm, Experiment
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.lifecycle.outcomes.evidence import (
    OWN,
    Values,
    answered,
    arm_and_step,
    as_batch,
    beside,
    made_by,
    of_record,
    values_of,
)
from udfs.lifecycle.outcomes.fates import OutcomeFate
from udfs.lifecycle.outcomes.joining import Settled
from udfs.lifecycle.outcomes.judging import MULTICLASS, Judging
from udfs.lifecycle.outcomes.messages import Came, Predicted
from udfs.lifecycle.outcomes.rows import NO_OUTCOME
from udfs.lifecycle.outcomes.stored import stored_rows

EVERY_MS = 10_000
"""How often the controller is asked, in the time of the predictions."""
_NEEDED = (
    *("entity", "scoring", "ms", "score", "scores", "version", "experiments", "answers", "judged", "kind"),
    *("fate", "outcome", "metrics", TIMESTAMP, "source", "partition", "offset", "revision"),
)
_IN_FORCE = (OutcomeFate.JOINED.value, OutcomeFate.CORRECTION.value, NO_OUTCOME)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """`events`: what the controller would have said, and when. Of the `predictions` read those
    `without_entity` were passed over, those `outside` of the population, and those `unanswered`, about which
    a model of an arm had not been asked, or another version of it."""

    events: list[ExperimentEvent]
    predictions: int
    without_entity: int
    outside: int
    unanswered: int


def rehearse(experiment: Experiment, location: str, s3: S3Options, threshold: float = 0.5) -> Rehearsed:
    """Judge the store of one data type. Memory grows with its predictions.

    A prediction that was part of the experiment stays in its arm, and counts as it was. Any other is drawn
    into an arm at the step that would have been in force at its time, and counts by what the arm's model had
    answered: so both models must have been asked, as candidates or shadows. A prediction counts once the
    attribution window is over, by the outcome in force then. The store does not say which field the outcome
    was: that is the one metric of the experiment that nothing else has.

    Raises `StoreError` as `stored_rows`, and `ExperimentError` for arms that are no models, where no
    prediction was part of the experiment.
    """
    rows = sorted(_rows(experiment, location, s3).values(), key=lambda row: row["known"])
    label = _label(experiment, rows)
    with_entity = [row for row in rows if row["entity"]]
    inside = in_population(experiment, [row["entity"].encode() for row in with_entity]).tolist()
    past = [
        r for r, is_in in zip(with_entity, inside, strict=True) if is_in or _own(experiment, r) is not None
    ]
    controller = Controller(CountedInMemory())
    start = min((row["at"] for row in past), default=0)
    text = write_order(Order("start", experiment))
    events = _told(controller.order(experiment.data_type, experiment.name, text, 1, start))
    steps, unanswered = [(start, 0, shares_of_step(experiment, 0))], 0
    for due, some in groupby(past, key=lambda row: row["known"] // EVERY_MS):
        now, found = (due + 1) * EVERY_MS, []
        for row in some:
            _, step, shares = steps[bisect_right(steps, row["at"], key=lambda one: one[0]) - 1]
            one = _judged(experiment, row, step, shares, (label, threshold))
            unanswered += one is None
            found += [] if one is None else [one]
        if found:
            batch = as_batch(experiment.data_type, experiment.name, found, now)
            told = _told(controller.evidence(batch, now))
            steps += [(e.at, e.step, _shares(e)) for e in told if e.kind == "step"]
            events += told
    if past:
        events += _told(controller.on_timer(now))
    outside = len(with_entity) - len(past)
    return Rehearsed(events, len(rows), len(rows) - len(with_entity), outside, unanswered)


def _shares(event: ExperimentEvent) -> dict[str, float]:
    return {title: arm.share for title, arm in event.arms.items()}


def _rows(experiment: Experiment, location: str, s3: S3Options) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Predictions with the outcome in force, or without one: `at` their time, `known` when that counts."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for _, model, batch in stored_rows(location, s3, _NEEDED):
        columns = {name: batch.column(name) for name in _NEEDED}
        columns[TIMESTAMP] = columns[TIMESTAMP].cast(pa.timestamp("ms")).cast(pa.int64())
        for row in pa.RecordBatch.from_pydict(columns).to_pylist():
            identity, at = (row["source"], row["partition"], row["offset"]), row[TIMESTAMP]
            before = found.get(identity)
            if row["fate"] in _IN_FORCE and (before is None or before["revision"] < row["revision"]):
                if row["kind"] != MULTICLASS:
                    row["scores"] = ""  # nobody asks for it, and there are many
                found[identity] = row | {"model": model, "at": at, "known": at + experiment.attribution_ms}
    return found


def _label(experiment: Experiment, rows: Iterable[dict[str, Any]]) -> str:
    """The outcome's field, by whose name the experiment may ask for it."""
    wanted = {metric.name for metric in (experiment.primary, *experiment.guardrails)} - OWN
    for text in {row["metrics"] for row in rows if row["metrics"]} if wanted else ():
        wanted -= orjson.loads(text).keys()
    return wanted.pop() if len(wanted) == 1 else "outcome"


def _judged(
    experiment: Experiment,
    row: dict[str, Any],
    step: int,
    shares: Mapping[str, float],
    judged_by: tuple[str, float],
) -> tuple[str, str, int, int, Values, str, int] | None:
    """Entity, arm, step, time, values, and whose answer it was, of which nothing need be said where it is
    that of the arm's model; None where they cannot be known. `judged_by`: the outcome's field, and the
    threshold."""
    label, threshold = judged_by
    judging = _judging(row["judged"], row["kind"], label, threshold)
    one = _settled(row)
    own = _own(experiment, row)
    if own is not None:
        return row["entity"], *own, row["at"], of_record(one, judging), *made_by(one.predicted)
    answers = []
    for title in experiment.compared:
        answer = _answer(experiment, title, one, judging)
        if answer is None:
            return None
        answers.append(answer)
    if experiment.paired:
        control, treatment = answers
        values = control | beside(experiment.arms[experiment.treatment].shadow, treatment, judging)
        return row["entity"], experiment.control, step, row["at"], values, "", 0
    (place,) = drawn(experiment, [row["entity"].encode()], shares).tolist()
    return row["entity"], experiment.compared[place], step, row["at"], answers[place], "", 0


@lru_cache(maxsize=8)
def _judging(judged: str, kind: str, label: str, threshold: float) -> Judging:
    return Judging.of_stored(judged, kind, label=label, threshold=threshold)


def _own(experiment: Experiment, row: dict[str, Any]) -> tuple[str, int] | None:
    """The arm and step in which the prediction was part of the experiment."""
    of = orjson.loads(row["experiments"] or "{}").get(experiment.name)
    return None if of is None else arm_and_step(of)


def _answer(experiment: Experiment, title: str, one: Settled, judging: Judging) -> Values | None:
    """What the arm's model answered; None where it was not asked, or nobody waited for it."""
    arm, predicted = experiment.arms[title], one.predicted
    model = arm.model or (arm.shadow if experiment.paired else "")
    if not model:
        said = f"arm {title!r} is no model, so stored answers do not say what it would have made of a record"
        raise ExperimentError(f"{experiment.name}: {said}")
    if not predicted.answers:
        asked = predicted.model == model and _is_version(arm, predicted.version)
        return values_of(one, judging) if asked else None
    answer = orjson.loads(predicted.answers).get(model)
    if not isinstance(answer, dict) or not _is_version(arm, answer.get("version", 0)):
        return None
    return answered(answer, one, judging)


def _is_version(arm: Arm, version: int) -> bool:
    return version in (0, arm.version) or not arm.version  # 0: it did not answer, so nobody knows which


def _settled(row: dict[str, Any]) -> Settled:
    predicted = Predicted(
        "", "", 0, 0, row["at"], row["model"], row["version"], "", row["scoring"], row["ms"], row["score"],
        row["scores"], row["entity"], answers=row["answers"] or "",
    )  # fmt: skip
    came = None
    if row["outcome"] is not None:
        metrics = orjson.loads(row["metrics"] or "{}")
        came = Came("", row["known"], row["outcome"], "", row["known"], "", 0, 0, metrics=metrics)
    return Settled("", predicted, came, None, 1)


def _told(said: Iterator[Any]) -> list[ExperimentEvent]:
    return [one for one in said if isinstance(one, ExperimentEvent)]
