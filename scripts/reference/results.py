"""docs/reference/results.md: what jobs write, field by field."""

from __future__ import annotations

from reference.forms import fields, form, members, table
from schemas.codecs.base import Code
from schemas.lifecycle.experiments import ArmFigures, ExperimentEvent
from schemas.lifecycle.quality import EvidenceBatch, OutcomeCounts, QualityRecord
from schemas.lifecycle.window_statistics import FeatureSums, NumberSums, WindowStatistics
from schemas.results import decided, records, results
from udfs.features.events.refused import REASONS as EVENTS
from udfs.features.steps import STEP_FAILED
from udfs.lifecycle.outcomes.letters import REASONS as OUTCOMES

_HEAD = """# Results and dead letters

What jobs write: JSON, one object a message or line. Times are epoch milliseconds, durations milliseconds.
Made by `scripts/generate` from `schemas/results/` and `schemas/lifecycle/`.

## A result
The record as it came, with a stamp in the field `millrace` as its last one. `record` below is that record;
the other fields are the stamp's.

"""
_DECIDED = """## A result of several candidates
The stamp of a result, and beside it what follows (`result` is the stamp above; each of `answers` is under its
candidate's name).

"""
_CODES = """### Codes
Of records that a codec, or a model's inputs, could not use:

"""
_STEP_FAILED = f"`{STEP_FAILED}` | a step of the view fails on it; the reason says why"


def results_page() -> str:
    """The whole document."""
    parts = [_HEAD, fields(results.Scored), "`outcome`:\n\n", _members(records.Outcome)]
    parts += [_DECIDED, fields(decided.Decided), form(decided.CandidateAnswer, "An answer")]
    parts += ["`outcome` of an answer:\n\n", _members(decided.AnswerState)]
    parts += [form(records.DeadLetter, "A dead letter", 2), _CODES, _members(Code)]
    events = [f"`{code}` | {why}" for code, why in EVENTS.items()]
    parts += ["Of events of features:\n\n", table("code | meaning", [*events, _STEP_FAILED])]
    parts += [
        "Of outcomes:\n\n",
        table("code | meaning", (f"`{c.value}` | {w}" for c, w in OUTCOMES.items())),
    ]
    parts += [form(records.ModelEvent, "A model event", 2), "`kind`:\n\n", _members(records.EventKind)]
    more = {
        "Statistics of a model": records.ModelToServeStats,
        "Statistics of a candidate": records.CandidateStats,
        "Statistics of a window": WindowStatistics,
        "Sums of a feature": FeatureSums,
        "Sums of its numbers": NumberSums,
        "Quality of a window": QualityRecord,
        "What became of outcomes": OutcomeCounts,
        "Evidence of an experiment": EvidenceBatch,
        "An event of an experiment": ExperimentEvent,
        "Figures of an arm": ArmFigures,
    }
    return "".join([*parts, *(form(kind, title, 2) for title, kind in more.items())]).rstrip() + "\n"


def _members(kind: type) -> str:
    return table("value | meaning", (f"`{value}` | {meaning}" for value, meaning in members(kind)))
