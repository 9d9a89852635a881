"""One result, whoever made it, against what is stored: each answer scored again, each decision made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from schemas.codecs.base import Codec
from schemas.errors import MillraceError
from schemas.plans.plan import Plan, read_plan
from schemas.results.decided import Decided, read_decided
from schemas.results.records import Outcome
from schemas.results.results import Scored, read_result
from udfs.ensemble.policies.replay import redecide
from udfs.lifecycle.audit.differences import differences
from udfs.lifecycle.audit.finding import Finder, Who
from udfs.lifecycle.audit.replaying import Replayed, Replayer, ReplayVerdict, worst


@dataclass(frozen=True, slots=True)
class Audited:
    """`answers`: by model what became of its answer; `decision`: of a decided result."""

    verdict: ReplayVerdict
    answers: Mapping[str, Replayed] = field(default_factory=dict)
    decision: Replayed | None = None
    why: str = ""

    def reason(self) -> str:
        """The sentence that belongs to the verdict; empty for the same."""
        parts = [*self.answers.values(), *([self.decision] if self.decision else [])]
        return self.why or next((p.why for p in parts if p.verdict is self.verdict), "")


def read_any(line: bytes) -> tuple[Scored, Decided | None]:
    """A result, and where it was decided among several answers also that. Raises `ValueError`."""
    try:
        decided = read_decided(line)
    except ValueError:
        return read_result(line), None
    return decided.result, decided


def audit(
    read: tuple[Scored, Decided | None],
    record: bytes,
    codec: Codec | None,
    replayer: Replayer,
    finder: Finder,
) -> Audited:
    """`read`: as of `read_any`; `record`: its bytes; `codec`: where they are not as the job reads them."""
    result, decided = read
    if decided is None:
        if result.outcome not in (Outcome.SCORED, Outcome.FAILED):
            return Audited(ReplayVerdict.NOT_REPLAYED, why=f"no model scored it ({result.outcome.value})")
        who = Who(result.data_type, result.model, result.version, result.digest)
        answer = replayer.replay(who, record, codec, result)
        return Audited(answer.verdict, {result.model: answer})
    answers = {
        name: replayer.replay(
            Who(result.data_type, name, answer.version, answer.digest),
            record,
            codec,
            replace(result, outcome=Outcome.SCORED, scores=answer.scores, reason=""),
        )
        for name, answer in decided.answers.items()
        if answer.scores
    }
    decision = _decided_again(decided, finder)
    verdict = worst([*(a.verdict for a in answers.values()), decision.verdict])
    return Audited(verdict, answers, decision)


def _decided_again(decided: Decided, finder: Finder) -> Replayed:
    """By the plan and the recorded answers. Arrival and lateness are as they were recorded."""
    result = decided.result
    named = f"plan {decided.plan} version {decided.plan_version}"
    try:
        text = ""
        if decided.plan_version:
            found = finder.plan(result.data_type, decided.plan, decided.plan_version)
            if found is None:
                return Replayed(ReplayVerdict.NOT_REPLAYED, f"neither registry nor model stream has {named}")
            text = found
        plan = _arm(read_plan(text), decided)
        (again,) = redecide([decided], plan, _metrics(decided, finder))
    except (MillraceError, ValueError) as e:
        return Replayed(ReplayVerdict.NOT_REPLAYED, f"{named} cannot be followed: {e}")
    found_differences = tuple(differences(result.scores, again.scores, ()))
    if (again.by, again.rule) != (result.model, decided.rule):
        why = f"{_by(decided.rule, result.model)} decided, and now {_by(again.rule, again.by)} does"
        return Replayed(ReplayVerdict.DIFFERENT, why, again.scores, found_differences)
    if found_differences:
        return Replayed(ReplayVerdict.DIFFERENT, "the decided scores differ", again.scores, found_differences)
    return Replayed(ReplayVerdict.SAME, scores=again.scores)


def _by(rule: str, candidate: str) -> str:
    return " of ".join(filter(None, (rule, candidate))) or "nothing"


def _arm(plan: Plan, decided: Decided) -> Plan:
    """The plan of the arm that the record was in; of one that was in none, what is for these."""
    for split in plan.splits:
        if split.name in decided.result.experiments:
            name, _ = decided.result.experiments[split.name]
            return next((arm.plan for arm in split.arms if arm.name == name), split.arms[0].plan)
    return plan.rest


def _metrics(decided: Decided, finder: Finder) -> dict[str, dict[str, float]]:
    """Of each candidate what its descriptor says, which the policy of the best quality asks for."""
    found = {}
    for name, answer in decided.answers.items():
        try:
            who = Who(decided.result.data_type, name, answer.version, answer.digest)
            found[name] = dict(finder.model(who).metrics)
        except MillraceError:
            continue
    return found
