"""The verdict: every record came out exactly once, and was scored by the version that its stamp names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demo.feed import Sent, numbered
from demo.verdict import DOUBLED, LOST, MIS_STAMPED, Verdict
from demo.watch import Result, Version, raw_of
from schemas.results.records import DeadLetter, Outcome
from schemas.results.results import DIGEST_DIGITS

MISPLACED = "in the wrong output"
"""Good records among the dead letters, spoiled ones among the results, or places never written."""
_UNREAD = (Outcome.UNDECIDED, Outcome.NO_MODEL)
"""Nobody could score what is spoiled, but not all have said so yet, or none was there to say so in time."""
TOLERANCE = 1e-4
"""Absolute; a batch of another size changes a float32 score by less than a hundredth of this."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one published version answers for each row, computed apart from the job."""

    digest: str
    scores: Sequence[Mapping[str, Any]]


def judge(
    sent: Iterable[Sent],
    results: Iterable[Result],
    dead: Iterable[DeadLetter],
    predictions: Mapping[Version, Prediction],
) -> Verdict:
    """Hold what came out against what was written and against each version's own predictions."""
    verdict = Verdict.of(LOST, DOUBLED, MIS_STAMPED, MISPLACED)
    written = {one.source: one for one in sent}
    verdict.records = sum(len(one.rows) for one in written.values())
    seen: Counter[tuple[str, int]] = Counter()
    apart: dict[tuple[Version, int], bool] = {}
    for result in results:
        seen[(result.source, result.line)] += 1
        row = _row(written, result.source, result.line)
        if row is None or (row < 0 and result.outcome not in _UNREAD):
            place = f"{result.source} line {result.line}"
            verdict.count(MISPLACED, [f"{place} has a result, but no good record is there"])
        elif result.outcome is not Outcome.SCORED:
            verdict.unscored += 1
        else:
            verdict.scored += 1
            verdict.count(MIS_STAMPED, _stamp_faults(result, row, predictions))
            key = ((result.data_type, result.version), row)
            if key not in apart:
                apart[key] = _told_apart(*key, predictions)
            verdict.told_apart += apart[key]
    for letter in dead:
        source, line = numbered(letter.source, letter.offset)
        seen[(source, line)] += 1
        spoiled = written[source].spoiled if source in written else {}
        if spoiled.get(line) != raw_of(letter):
            place = f"{letter.source} line {letter.offset}"
            verdict.count(MISPLACED, [f"{place} is a dead letter: {letter.reason}"])
    for one in written.values():
        for line in range(len(one.rows)):
            times = seen[(one.source, line)]
            if times == 0:
                verdict.count(LOST, [f"{one.source} line {line} never came out"])
            elif times > 1:
                verdict.count(DOUBLED, [f"{one.source} line {line} came out {times} times"])
    return verdict


def same(one: Any, other: Any) -> bool:
    """Whether two scores agree: numbers within `TOLERANCE`, lists and objects part by part."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)
    return bool(one == other)


def _row(written: Mapping[str, Sent], source: str, line: int) -> int | None:
    rows = written[source].rows if source in written else []
    return rows[line] if 0 <= line < len(rows) else None


def _stamp_faults(result: Result, row: int, predictions: Mapping[Version, Prediction]) -> list[str]:
    own_type = result.source == result.data_type
    prediction = predictions.get((result.data_type, result.version)) if own_type else None
    about = f"{result.source} line {result.line}, stamped {result.data_type} v{result.version},"
    if prediction is None:
        fault = "but no such version could be served"
    elif prediction.digest[:DIGEST_DIGITS] != result.digest:
        fault = f"has the digest {result.digest} of other content"
    elif not same(dict(result.scores), dict(prediction.scores[row])):
        fault = f"has scores {dict(result.scores)}; that version gives {dict(prediction.scores[row])}"
    else:
        return []
    return [f"{about} {fault}"]


def _told_apart(version: Version, row: int, predictions: Mapping[Version, Prediction]) -> bool:
    own = predictions.get(version)
    others = (p for key, p in predictions.items() if key[0] == version[0] and key != version)
    return own is not None and not any(same(dict(own.scores[row]), dict(p.scores[row])) for p in others)
