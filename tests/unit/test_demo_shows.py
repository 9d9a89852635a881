"""The demos' displays, with the largest values that a run can have: no number and no state is ever cut."""

from __future__ import annotations

import io
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console
from rich.text import Text

from demo.director import Director, Stage
from demo.display import Display, Facts
from demo.house.show import HouseShow
from demo.house.stages import stages_of as house_stages
from demo.house.story import DAYS
from demo.lifecycle.plan import TRIALS
from demo.lifecycle.show import LifeShow
from demo.lifecycle.stages import LifeSteps
from demo.lifecycle.stages import stages_of as life_stages
from demo.lifecycle.visits import BETTER, FIRST, WORSE, Model
from demo.panel import WIDTH, table_of, wordings
from demo.plan import PLANNED
from demo.race.show import RaceShow
from demo.race.stages import ABOUT_PLANS, CANDIDATES
from demo.race.stages import stages_of as race_stages
from demo.race.watch import CandidateTally
from demo.serve import stages_of as serve_stages
from demo.show import ServeShow
from demo.watch import Tally
from schemas.lifecycle.experiments import ArmFigures, ExperimentEvent
from schemas.results.records import EventKind, ModelEvent
from udfs.stores.online.base import Found, State

_MANY = 12_345_678
_SHARE = 0.98765
_SLOW_MS = 12_345.67
_SIZES = [(80, 24), (80, 60), (100, 40), (WIDTH, 24), (WIDTH, 60)]


class _Stub:
    """Has the attributes that it is given."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class _Many(list[Any]):
    """A list that says it is longer than it is."""

    def __len__(self) -> int:
        return _MANY


def _director(stages: Sequence[Stage], at: int) -> Director:
    director = Director(stages, cast(Any, _Stub(busy=False)), cast(Any, _Stub()))
    director.at = at
    return director


def _display(facts: Facts, note: str) -> Display:
    display = Display(Console(file=io.StringIO()), facts, time.time() - 99_999)
    display.note = note
    return display


def _event(kind: EventKind, data_type: str, version: int, step: str = "", reason: str = "") -> ModelEvent:
    return ModelEvent(kind, data_type, data_type, version, "", 0, 0, step, reason)


def _serve(note: str, stage: int) -> Display:
    digests = f"the artifact's sha256 is {'a1' * 32}, but the descriptor says {'b2' * 32}"
    events = [
        _event(EventKind.SERVED, "wine", 1),
        _event(EventKind.REFUSED, "wine", 3, "digest", digests),
        _event(EventKind.SERVED, "wine", 2),
        _event(EventKind.SERVED, "cancer", 1),
    ]
    keys = [(model.data_type, model.version) for model in PLANNED]
    now = time.time() * 1000
    results = [_Stub(data_type=name, event_time=now, visible=now + _SLOW_MS) for name in ("wine", "cancer")]

    def event(data_type: str, version: int) -> ModelEvent | None:
        return next((e for e in events if (e.data_type, e.version) == (data_type, version)), None)

    watch = _Stub(
        served=_Stub(accounted=_MANY - 2, dead=_Many(), events=events, results=results),
        arrivals=deque([(now + 60_000, name, _MANY) for name in ("wine", "cancer")]),
        tallies={key: Tally(_MANY, round(_MANY * _SHARE)) for key in keys},
        stats={key: _Stub(batches=1, p50_ms=_SLOW_MS, p99_ms=_SLOW_MS) for key in keys},
        serving=lambda name: {"wine": 2, "cancer": 1}[name],
        event=event,
        reasons=Counter({"missing_field": _MANY, "not_json": _MANY, "wrong_type": _MANY}),
    )
    models = _Stub(bench=_Stub(busy=True), asked=[PLANNED[-1], PLANNED[-2]], publish=print)
    feed = _Stub(count=_MANY, sent={"wine": None, "cancer": None})
    director = _director(serve_stages(cast(Any, models), cast(Any, watch), lambda: True), stage)
    return _display(ServeShow(cast(Any, feed), cast(Any, watch), director, cast(Any, models), _MANY), note)


def _race(note: str, stage: int) -> Display:
    tally = CandidateTally(_MANY, _MANY, _MANY, _MANY, round(_MANY * _SHARE))
    told = {(EventKind.WITHDRAWN, CANDIDATES[0].version)} | {
        (EventKind.SERVED, c.version) for c in CANDIDATES
    }
    served = _Stub(
        accounted=_MANY,
        dead=_Many(),
        results=_Many([_Stub(result=_Stub(ms=_SLOW_MS))]),
        told=lambda kind, version: (kind, version) in told,
    )
    tallies = defaultdict(lambda: tally)
    watch = cast(Any, _Stub(scored=_MANY - 99, accuracy=_SHARE, tallies=tallies, served=served))
    acts = dict.fromkeys(("decide_by", "hold_up", "unpublish_deep"), print)
    steps = cast(Any, _Stub(plan=1, delay_ms=10_000, models=_Stub(publish=print), **acts))
    director, feed = _director(race_stages(steps, watch), stage), cast(Any, _Stub(count=_MANY))
    return _display(RaceShow(feed, watch, director, steps, _MANY), note)


def _house(note: str, stage: int) -> Display:
    found = Found(State.PRESENT, 1_800_000_000_000, (_MANY, 123_456.7, -12_345.6))
    names = [f"district-{number:02}" for number in range(12)]
    watch = _Stub(
        history={"a": _MANY},
        assembled=_Many(),
        expired=_Many(),
        scoring=_Stub(results=_Many()),
        served=lambda districts: [Found(State.MISSING, 0, ()), *[found] * (len(districts) - 1)],
    )
    acts = dict.fromkeys(("training_set", "serve", "assemble", "train", "ask"), print)
    offline = {"examples": _MANY, "mae": 54_321.0, "r2": 0.98765}
    steps = cast(Any, _Stub(asked=_MANY, offline=offline, **acts))
    facts = cast(Any, _Stub(sales=_MANY, listings=_MANY, known={}, newest=dict.fromkeys(names, 0)))
    director = _director(house_stages(steps, facts, cast(Any, watch)), stage)
    director.seconds = lambda number, now: 12_345.0 if number < 3 else None  # type: ignore[method-assign]
    days = cast(Any, _Stub(day=DAYS, written=_MANY))
    return _display(HouseShow(facts, cast(Any, watch), director, steps, days), note)


def _life(note: str, stage: int) -> Display:
    arms = {title: ArmFigures(_MANY, _SHARE, title, 1, 0.1) for title in ("first", "better")}
    last = ExperimentEvent(
        kind="rolled_back", experiment="e", data_type="visit", at=1, entities=_MANY, arms=arms,
        harm=9.0, harm_at=5.0, gain=2.5, gain_at=5.0, step=1, steps=2,
    )  # fmt: skip
    served = _Stub(results=_Many(), dead=_Many(), told=lambda kind, name: name != "retrained")
    watch = _Stub(
        served=served,
        said=["better-canary is rolled back after 1,234 customers"] * 3,
        joined=_MANY,
        alerts=[_Stub(drift=("minutes",))],
        by_model=defaultdict(lambda: _MANY),
        accuracy=lambda name: _SHARE,
        last=lambda name: last,
    )
    models = {
        m.name: m for m in (FIRST, WORSE, BETTER, Model("retrained", 4, "trained on 12,345 visits", ()))
    }
    feed = cast(Any, _Stub(sent=_Many(), visits=_Stub(drift=print)))
    steps = LifeSteps(cast(Any, None), feed, Path(), Path(), models)
    director = _director(life_stages(steps, cast(Any, watch)), stage)
    return _display(LifeShow(cast(Any, watch), director, feed, steps, cast(Any, None)), note)


_SERVED = {
    "12,345,678": 5 + len(PLANNED),  # records in, dead letters, by reason three times; each version's
    f"{_MANY * len(PLANNED):,}": 1,
    f"{2 * _MANY / 5:,.0f} /s": 1,
    f"{_MANY / 5:,.0f} /s": 2,
    "12,346 ms": 4,
    "98.8%": len(PLANNED),
    "12345.67 ms": 2 * len(PLANNED),
    "serving": 2,
    "replaced": 1,
    "refused": 2,
    "publishing": 1,
    "loading": 1,
    "v2": 3,
    "cancer v1": 1,
}
_RACED = {
    "12,345,678": 2 + 4 * len(CANDIDATES),
    "12,345,579": 2,
    "98.8%": len(CANDIDATES) + 1,
    "withdrawn 12,345,678": 1,
    "slow      12,345,678": 1,
    "racing": 1,
    "p50 12,346 ms, p99 12,346 ms": 1,
    f"v1: {ABOUT_PLANS[1]}": 1,
}
_HOUSED = {
    "12,345,678": 6 + 5 + 1,
    "2027-01-15 08:00": 5,
    "123,457 €": 5,
    "-12,345.6 €": 5,
    "nothing yet": 1,
    "12,345 s": 3,
    "54,321.0": 1,
    "0.9877": 1,
}
_LIVED = {
    "12,345,678": 4 + 4 + len(TRIALS),
    "98.8%": 4,
    "rolled back": 2 + len(TRIALS) + 2,
    "████████": len(TRIALS),
    "████░░░░": len(TRIALS),
    "waits": 1,
}
_STAGES = {_serve: 6, _race: 5, _house: 4, _life: 10}
_SHOWS: list[tuple[Callable[[str, int], Display], dict[str, int], list[str]]] = [
    (make, expected, [make("", at).heading for at in range(_STAGES[make])])
    for make, expected in ((_serve, _SERVED), (_race, _RACED), (_house, _HOUSED), (_life, _LIVED))
]


def _cases() -> Iterator[Any]:
    for make, expected, titles in _SHOWS:
        for width, height in _SIZES:
            yield pytest.param(make, expected, titles, width, height, id=f"{make.__name__}-{width}x{height}")


def _lines(renderable: Any, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(renderable)
    return cast(io.StringIO, console.file).getvalue().splitlines()


@pytest.mark.parametrize(("make", "expected", "titles", "width", "height"), list(_cases()))
def test_every_number_and_state_is_whole(
    make: Callable[[str, int], Any], expected: dict[str, int], titles: list[str], width: int, height: int
) -> None:
    for stage in range(len(titles)):
        lines = _lines(make("", stage).screen(), width, height)
        text = "\n".join(lines)
        assert titles[stage] in lines[0]
        assert "…" not in text
        assert all(len(line) == width for line in lines)
        assert len(lines) <= height
        found = {word: len(re.findall(rf"(?<![\d.,]){re.escape(word)}(?!,?\d)", text)) for word in expected}
        assert found == expected


@pytest.mark.parametrize("make", [_serve, _race])
def test_the_legend_stands_where_there_is_room(make: Callable[[str, int], Any]) -> None:
    assert "rows that no model was trained on" in "\n".join(_lines(make("done", 0).screen(), 120, 60))
    assert "rows that no model was trained on" not in "\n".join(_lines(make("done", 0).screen(), 120, 18))


def test_words_yield_to_numbers_and_all_cells_of_a_column_say_as_much() -> None:
    def rendered(width: int) -> str:
        table = table_of(("a", 1), ("about", None), ("n", -9))
        for name, cell in zip("xy", wordings([("long words", "long"), (Text("w"), "s")]), strict=True):
            table.add_row(name, cell, "12,345,678")
        return "\n".join(_lines(table, width, 10))

    assert "long words" in rendered(40) and "w" in rendered(40)
    assert "long" in rendered(19) and "long words" not in rendered(19) and "s" in rendered(19)
    assert rendered(19).count("12,345,678") == 2
