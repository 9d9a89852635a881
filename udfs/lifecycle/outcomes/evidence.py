"""What settled predictions say about experiments, record by record: see `schemas.lifecycle.quality`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from schemas.lifecycle.quality import EvidenceBatch
from udfs.lifecycle.outcomes.counting import LONGEST
from udfs.lifecycle.outcomes.joining import Settled
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.messages import Predicted
from udfs.lifecycle.quality.classification import CLIP

Values = dict[str, float | None]
OWN = frozenset({"outcome", "latency", "failed", "late", "correct", "log_loss", "error", "absolute_error"})
OWN |= {"squared_error"}
"""Metrics that do not depend on what the outcome's fields are called."""
_MOST = 500
"""Records of a message: it stays far below what a topic takes."""


def evidence(closed: Iterable[Settled], judging: Judging, at: int) -> Iterator[EvidenceBatch]:
    """Of predictions whose window has closed, by the outcome in force then; of records with an entity.

    Not sooner: where outcomes of one kind, or of one arm, come sooner than others, those that are known first
    are no sample of all, and tests that hold for entities in the order of their draw would be wrong.
    """
    found: dict[str, list[tuple[str, str, int, int, Values, str, int]]] = {}
    data_type = ""
    for one in closed:
        predicted = one.predicted
        if not predicted.experiments or not predicted.entity:
            continue
        data_type, values = predicted.data_type, of_record(one, judging)
        for experiment, of in orjson.loads(predicted.experiments).items():
            row = (predicted.entity, *arm_and_step(of), predicted.event_time, values, *made_by(predicted))
            found.setdefault(experiment[:LONGEST], []).append(row)
    for experiment, rows in found.items():
        for start in range(0, len(rows), _MOST):
            yield as_batch(data_type, experiment, rows[start : start + _MOST], at)


def arm_and_step(of: Any) -> tuple[str, int]:
    """What a result says of an experiment that it is part of; the step is -1 where it says none."""
    arm, step = (of.get("arm", ""), of.get("step", -1)) if isinstance(of, Mapping) else (of, -1)
    return str(arm)[:LONGEST], step if type(step) is int and abs(step) < 1 << 53 else -1


def as_batch(data_type: str, experiment: str, rows: Sequence[tuple[Any, ...]], at: int) -> EvidenceBatch:
    """Of rows of entity, arm, step, event time, values, and whose answer it was: see `made_by`."""
    entities, arms, steps, times, values, models, versions = zip(*rows, strict=True)
    names = sorted(set().union(*values))
    return EvidenceBatch(
        data_type=data_type,
        experiment=experiment,
        entities=entities,
        arms=arms,
        steps=steps,
        event_times=times,
        values={name: tuple(of.get(name) for of in values) for name in names},
        models=models,
        versions=versions,
        at=at,
    )


def made_by(predicted: Predicted) -> tuple[str, int]:
    """The model and version that answered; where none did, the first that was asked to decide, of a version
    that is 0 where nobody knows it; empty and 0 where nobody was asked."""
    if not predicted.model and predicted.answers:
        for name, answer in orjson.loads(predicted.answers).items():
            if isinstance(answer, dict) and answer.get("shadow") is not True:
                return name[:LONGEST], _version(answer)
    return predicted.model[:LONGEST], predicted.version


def of_record(one: Settled, judging: Judging) -> Values:
    """What it says of each metric, and beside that what its shadows would have said."""
    return values_of(one, judging) | _of_shadows(one, judging)


def values_of(one: Settled, judging: Judging) -> Values:
    """What a prediction says of each metric."""
    predicted = one.predicted
    came = judging.without if one.came is None else one.came.value
    score = predicted.score
    values: Values = {
        **({} if judging.classes else {"outcome": came, judging.label: came}),
        "latency": predicted.ms,
        "failed": float(predicted.scoring != "scored"),
        "late": float(_late(predicted.answers)),
    }
    if one.came is not None:
        values |= one.came.metrics
    if score is None or came is None:
        return values
    if judging.kind == "numbers":
        error = score - came
        return values | {"error": error, "absolute_error": abs(error), "squared_error": error * error}
    if judging.kind == "labels":
        return values | _of_labels(score, came, judging)
    if judging.classes:
        return values | _of_classes(predicted.scores, int(came), judging)
    if not 0 <= score <= 1 or came not in (0, 1):  # numbers, from before settings have changed
        return values
    near = min(max(score, CLIP), 1 - CLIP)
    return values | {
        "correct": float((score >= judging.threshold) == (came > 0)),
        "log_loss": -math.log(near if came > 0 else 1 - near),
        "squared_error": (score - came) ** 2,
    }


def _of_labels(said: float, came: float, judging: Judging) -> Values:
    """Of the places of two labels. Nothing of what is the place of none, as after settings have changed."""
    places = range(len(judging.classes))
    return {"correct": float(said == came)} if said in places and came in places else {}


def _of_classes(scores: str, came: int, judging: Judging) -> Values:
    """`came`: the place of the class that came. Nothing of a class that there is not, as after settings
    have changed."""
    found = judging.probabilities_of(orjson.loads(scores))
    if found is None or not 0 <= came < len(found):
        return {}
    squares = sum((p - (at == came)) ** 2 for at, p in enumerate(found))
    loss = -math.log(min(max(found[came], CLIP), 1 - CLIP))
    return {
        "correct": float(found.index(max(found)) == came),
        "log_loss": loss,
        "squared_error": squares / 2,
    }


def answered(answer: Mapping[str, Any], one: Settled, judging: Judging) -> Values | None:
    """What the prediction would say, had this candidate's answer decided; None of one not waited for."""
    if answer.get("outcome") == "pending":
        return None
    said = answer.get("scores")
    scores = said if answer.get("outcome") == "scored" and isinstance(said, dict) else {}
    predicted = msgspec.structs.replace(
        one.predicted,
        score=judging.score_of(scores),
        scores=orjson.dumps(scores).decode() if judging.classes else "",
        ms=_number(answer.get("waited_ms")) or _number(answer.get("ms")),
        scoring="scored" if answer.get("outcome") == "scored" else "undecided",
        answers="",
    )
    late = {"late": float(answer.get("outcome") == "late")}
    return values_of(msgspec.structs.replace(one, predicted=predicted), judging) | late


def beside(candidate: str, values: Values, judging: Judging) -> Values:
    """The values of a candidate that does not decide, as they travel beside those of the prediction."""
    shared = {"outcome", judging.label, *judging.metrics}
    return {f"{candidate}/{name}": value for name, value in values.items() if name not in shared}


def _of_shadows(one: Settled, judging: Judging) -> Values:
    found: Values = {}
    if '"shadow":true' in one.predicted.answers:
        for name, answer in orjson.loads(one.predicted.answers).items():
            if isinstance(answer, dict) and answer.get("shadow") is True:
                values = answered(answer, one, judging)
                if values is not None:
                    found |= beside(name[:LONGEST], values | {"version": float(_version(answer))}, judging)
    return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _version(answer: Mapping[str, Any]) -> int:
    said = answer.get("version", 0)
    return said if type(said) is int and -(2**63) <= said < 2**63 else 0


def _late(answers: str) -> bool:
    """Whether an answer that counts missed the deadline."""
    if '"late"' not in answers:
        return False
    found = (of for of in orjson.loads(answers).values() if isinstance(of, dict))
    return any(of.get("outcome") == "late" and not of.get("shadow") for of in found)
