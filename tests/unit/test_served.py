"""Who served when, from what jobs told: whatever the order, and however often it is told."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.results.records import EventKind, ModelEvent, ModelToServeStats
from tests.registered import event, stats
from udfs.lifecycle.repository.served import PLAN, Served, served, serving_at, used

SERVED, WITHDRAWN, QUARANTINED = EventKind.SERVED, EventKind.WITHDRAWN, EventKind.QUARANTINED


def told(*messages: ModelEvent | ModelToServeStats, job: str = "serve") -> list[Served]:
    events = [(job, m) for m in messages if isinstance(m, ModelEvent)]
    return served(events, [(job, m) for m in messages if isinstance(m, ModelToServeStats)])


def seen(intervals: list[Served]) -> list[tuple[int, int, int | None, str]]:
    return [(i.version, i.since, i.until, i.ended) for i in intervals]


def test_a_version_serves_until_the_next_one_takes_over() -> None:
    found = told(event(SERVED, 100), event(SERVED, 200, 4))
    assert seen(found) == [(3, 100, 200, "replaced"), (4, 200, None, "")]
    assert [i.version for i in serving_at(found, 199)] == [3]
    assert [i.version for i in serving_at(found, 200)] == [4]
    assert serving_at(found, 99) == []


def test_a_rolled_back_version_has_two_intervals() -> None:
    found = told(event(SERVED, 100), event(SERVED, 200, 4), event(SERVED, 300))
    assert seen(found) == [(3, 100, 200, "replaced"), (4, 200, 300, "replaced"), (3, 300, None, "")]


def test_an_unpublishing_and_a_quarantine_end_what_they_name() -> None:
    last = stats(99, 150, serving=False)
    assert seen(told(event(SERVED, 100), last, event(WITHDRAWN, 151))) == [(3, 100, 150, "withdrawn")]
    assert seen(told(event(SERVED, 100), event(QUARANTINED, 160))) == [(3, 100, 160, "quarantined")]
    # Of a version that only waited, and one before it served:
    for other in (event(WITHDRAWN, 150, 9), event(WITHDRAWN, 50)):
        assert seen(told(event(SERVED, 100), other)) == [(3, 100, None, "")]


def test_another_name_for_the_data_type_ends_it_by_the_last_statistics() -> None:
    found = told(event(SERVED, 100), stats(100, 200, serving=False), event(SERVED, 201, 1, name="deep"))
    assert [(i.name, i.until) for i in found] == [("forest", 200), ("deep", None)]
    # Of candidates that race both go on.
    found = told(event(SERVED, 100), event(SERVED, 201, 1, name="deep"))
    assert [(i.name, i.until) for i in found] == [("forest", None), ("deep", None)]


def test_instances_are_one_interval_as_long_as_one_has_it() -> None:
    found = told(
        *(event(SERVED, 100 + n, subtask=n) for n in range(3)),
        *(event(SERVED, 200 + n, 4, subtask=n) for n in range(3)),
    )
    assert seen(found) == [(3, 100, 202, "replaced"), (4, 200, None, "")]
    assert found[0].subtasks == {0, 1, 2}


def test_a_restart_goes_on_with_the_same_interval() -> None:
    found = told(event(SERVED, 100), stats(99, 140), event(SERVED, 180), event(SERVED, 300, 4))
    assert seen(found) == [(3, 100, 300, "replaced"), (4, 300, None, "")]


def test_an_instance_that_is_gone_ends_when_others_move_on() -> None:
    one, two = event(SERVED, 100), event(SERVED, 100, subtask=1)
    found = told(one, two, stats(99, 150, subtask=1), event(SERVED, 200, 4))
    assert [(i.version, i.until) for i in found] == [(3, 200), (4, None)]
    heard = told(one, two, stats(99, 250, subtask=1), event(SERVED, 200, 4))
    assert heard[0].until is None and heard[0].seen == 250


def test_statistics_tell_of_what_no_event_told() -> None:
    found = told(stats(100, 150))
    assert seen(found) == [(3, 100, None, "")] and found[0].seen == 150


def test_a_plan_replaces_whatever_plan_there_was() -> None:
    found = told(
        event(EventKind.DECIDES, 100, 1, name="plan"),
        event(EventKind.DECIDES, 200, 1, name="other"),
        event(SERVED, 150, name="plan"),
    )
    assert [(i.kind, i.name, i.until) for i in found] == [
        (PLAN, "plan", 200),
        ("model", "plan", None),
        (PLAN, "other", None),
    ]


def test_jobs_are_kept_apart_and_statistics_belong_to_their_interval() -> None:
    first = stats(99, 150, serving=False)
    second, other = stats(299, 350), stats(299, 400, 4)
    events = [("serve", event(SERVED, 100)), ("serve", event(SERVED, 300)), ("b", event(SERVED, 120))]
    told_of = [("serve", first), ("serve", second), ("b", other)]
    found = served(events, told_of)
    assert [(i.job, i.since, i.until) for i in found if i.version == 3] == [
        ("serve", 100, 150),
        ("b", 120, 299),
        ("serve", 300, None),
    ]
    assert used(found[0], told_of) == [first]
    assert used(next(i for i in found if i.since == 300), told_of) == [second]


def happened(seed: int) -> list[ModelEvent | ModelToServeStats]:
    """What some instances of a job tell while versions come and go, restarts between."""
    chance = random.Random(seed)
    messages: list[ModelEvent | ModelToServeStats] = []
    at, since = 1000, {}
    for _ in range(chance.randint(1, 25)):
        at += chance.randint(1, 5000)
        subtask, version = chance.randrange(2), chance.randint(1, 4)
        if subtask in since and chance.random() < 0.7:
            old, begun = since.pop(subtask)
            messages.append(stats(begun, at, old, subtask=subtask, serving=False))
            if chance.random() < 0.3:
                messages.append(event(WITHDRAWN, at, old, subtask=subtask))
                continue
        messages.append(event(SERVED, at, version, subtask=subtask))
        since[subtask] = (version, at)
    return messages


@given(st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_neither_order_nor_repeats_change_anything(seed: int, shuffle: random.Random) -> None:
    messages = happened(seed)
    again = [*messages, *shuffle.sample(messages, len(messages) // 2)]
    shuffle.shuffle(again)
    once = told(*messages)
    twice = told(*dict.fromkeys(again))
    assert twice == once
    for one in once:
        assert one.until is None or one.since < one.until or one.since == one.until


@given(st.integers(0, 10**9))
def test_one_instance_has_one_version_at_a_time(seed: int) -> None:
    found = told(*(m for m in happened(seed) if m.subtask == 0))
    for a, b in pairwise(found):
        assert a.until is not None and a.until <= b.since
    assert all(i.ended for i in found if i.until is not None)


@pytest.mark.parametrize("kind", [EventKind.REFUSED, EventKind.SUPERSEDED, EventKind.ALREADY_SERVED])
def test_other_events_begin_and_end_nothing(kind: EventKind) -> None:
    assert told(event(kind, 100)) == []
    assert seen(told(event(SERVED, 90), event(kind, 100))) == [(3, 90, None, "")]


def test_the_same_version_forced_with_other_content_is_another_interval() -> None:
    found = told(event(SERVED, 100), replace(event(SERVED, 200), digest="ff"))
    assert seen(found) == [(3, 100, 200, "replaced"), (3, 200, None, "")]
