"""What is settled stays, whatever arrives after it; and what does not depend on the order does not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.plans.plan import First, Majority, Policy, chain
from schemas.results.answers import Answer, AnswerOutcome, Asked, from_columns, to_columns
from tests.decision_cases import told
from tests.decision_strategies import batches, policies
from udfs.ensemble.policies import BatchAnswers, decide


@given(policy=policies, made=batches(), data=st.data())
@settings(max_examples=800)
def test_what_is_settled_does_not_change(policy: Policy, made, data):
    asked, n, answers, metrics = made
    order = data.draw(st.permutations(answers))
    known = data.draw(st.integers(0, len(order)))
    before = BatchAnswers.of(asked, n, order[:known], metrics)
    sure = ~decide(policy, before, final=False).waiting
    early, now = told(decide(policy, before, final=False)), told(decide(policy, before))
    after = BatchAnswers.of(asked, n, order, metrics)
    last = told(decide(policy, after))
    for row in range(n):
        if sure[row]:
            assert early[row] == now[row] == last[row]
    assert not decide(policy, after, final=False).waiting.any()


@given(policy=policies, made=batches(), data=st.data())
@settings(max_examples=500)
def test_only_first_depends_on_the_order_of_arrival(policy: Policy, made, data):
    asked, n, answers, metrics = made
    for link in chain(policy):
        if isinstance(link, First) or (isinstance(link, Majority) and link.tie == "first"):
            return
    orders = [answers, data.draw(st.permutations(answers))]
    who = [asked, data.draw(st.permutations(asked))]
    one, other = (
        told(decide(policy, BatchAnswers.of(w, n, o, metrics))) for w, o in zip(who, orders, strict=True)
    )
    assert one == other


@given(policy=policies, made=batches())
@settings(max_examples=300)
def test_a_record_is_decided_as_if_it_were_alone(policy: Policy, made):
    asked, n, answers, metrics = made
    whole = told(decide(policy, BatchAnswers.of(asked, n, answers, metrics)))
    for row in range(n):
        alone = [Asked(a.candidate, None if a.rows is None or row in a.rows else (), a.shadow) for a in asked]
        found = told(decide(policy, BatchAnswers.of(alone, 1, [_only(a, row) for a in answers], metrics)))
        assert found == [whole[row]]


def _only(answer: Answer, row: int) -> Answer:
    if answer.outcome is not AnswerOutcome.SCORED:
        return answer
    at = row if answer.rows is None else answer.rows.index(row) if row in answer.rows else None
    rows = None if at is not None else ()
    keep = slice(at, at + 1) if at is not None else slice(0)
    columns = to_columns({n: c[keep] for n, c in from_columns(answer.columns).items()})
    return Answer("id", "t", answer.candidate, answer.outcome, rows=rows, columns=columns)
