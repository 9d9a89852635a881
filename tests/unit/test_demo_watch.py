"""What the demos read of what jobs write, and what they publish, without jobs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.director import Stage
from demo.feed import appear
from demo.house.plan import Folders
from demo.house.stages import Days
from demo.house.stages import stages_of as house_stages
from demo.job import DemoError
from demo.lifecycle.watch import LifeWatch
from demo.plan import CANCER_1, DAMAGED, WINE_1, DataSet
from demo.race.stages import DEEP, SLOW_MS, USUAL_MS, RaceSteps
from demo.race.watch import RaceWatch
from demo.serve import stages_of as serve_stages
from demo.trained import TrainedModels
from demo.watch import Served, Watch
from demo.workbench import publish_damaged
from millrace.export_pmml import logistic_regression
from schemas.model_pb2 import ModelDescriptor
from schemas.results.records import DeadLetter, EventKind, ModelEvent, encode

EVENTS = (
    ModelEvent(EventKind.REFUSED, "wine", "wine", 3, "", 5, 0, step="digest", reason="other content"),
    ModelEvent(EventKind.SERVED, "wine", "wine", 2, "", 4, 0, load_ms=1234.5),
    ModelEvent(EventKind.DECIDES, "wine", "plan", 1, "", 6, 0, step="plan"),
)
LETTER = DeadLetter("wine", "wine/000.jsonl", 0, 7, 0, "unparsable", "?", "", 0)


def write(folder: Path, name: str, *lines: bytes) -> None:
    appear(folder / name, b"".join(line + b"\n" for line in lines))


def test_lines_are_read_once_and_events_are_in_the_order_of_time(tmp_path: Path) -> None:
    served = Served(tmp_path, lambda line, visible: (line, visible > 0))
    write(tmp_path, "results/one", b"a", b"b")
    write(tmp_path, "dead-letters/one", encode(LETTER))
    write(tmp_path, "model-events/one", *map(encode, EVENTS))
    results, news = served.look()
    assert results == [(b"a", True), (b"b", True)]
    assert [event.kind for event in news] == [event.kind for event in EVENTS]
    assert [event.at for event in served.events] == [4, 5, 6]
    write(tmp_path, "results/two", b"c")
    assert served.look() == ([(b"c", True)], [])
    assert (served.results, served.dead) == ([*results, (b"c", True)], [LETTER])
    assert served.accounted == 4
    assert served.told(EventKind.SERVED, 2) and served.told(EventKind.SERVED, "wine")
    assert not served.told(EventKind.SERVED, 3) and not served.told(EventKind.WITHDRAWN, "wine")


def test_what_is_told_of_model_events(tmp_path: Path) -> None:
    write(tmp_path, "model-events/one", *map(encode, EVENTS))
    watch = Watch(tmp_path, {})
    assert watch.look()[:2] == [
        "wine v3 is refused at step digest: other content",
        "wine v2 is served (loaded in 1,234 ms)",
    ]
    assert (watch.serving("wine"), watch.serving("cancer")) == (2, 0)
    assert RaceWatch(tmp_path, ()).look() == ["wine refused: other content", "wine served", "plan v1 decides"]
    life = LifeWatch(tmp_path, *(tmp_path / name for name in ("judged", "trial", "watched")))
    assert life.look() == ["wine v3 refused", "wine v2 served"] == life.said
    assert life.look() == [] and len(life.said) == 2


def test_dead_letters_are_counted_by_reason(tmp_path: Path) -> None:
    write(tmp_path, "dead-letters/one", encode(LETTER), encode(LETTER))
    watch = Watch(tmp_path, {})
    watch.look()
    assert watch.reasons == {"unparsable": 2}


class Stub:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Bench:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def command(self, *arguments: str | Path) -> None:
        self.asked.append(arguments)

    def ask(self, request: str, **arguments: Any) -> None:
        self.asked.append((request, arguments))


@pytest.fixture
def models(tmp_path: Path) -> Any:
    found: Any = TrainedModels.__new__(TrainedModels)
    found.bench, found.models, found.asked, found._folder = Bench(), tmp_path, [], Path("trained")
    found.data = [DataSet("wine", ("a", "b", "c", "d"), (), (), ()), DataSet("cancer", ("x",), (), (), ())]
    return found


def test_models_are_published_as_they_are_planned(models: Any) -> None:
    for model in (WINE_1, CANCER_1, DEEP, DAMAGED):
        models.publish(model)
    wine, cancer, deep, damaged = models.bench.asked
    about = ("--description", "softmax of 3 fields")
    to = ("--to-folder", models.models)
    assert wine == (
        *("publish", "trained/wine-v1", "--data-type", "wine", "--version", "1", *about),
        *("--field", "a,b,c", *to),
    )
    assert "--field" not in cancer and "--name" not in cancer
    assert ("--name", "deep", "--field", "a,b,c,d", *to) == deep[-6:]
    assert damaged[0] == "publish_damaged" and damaged[1]["models"] == str(models.models)
    assert damaged[1]["arguments"][:2] == ["publish", "trained/wine-v1"]
    assert models.asked == [WINE_1, CANCER_1, DEEP, DAMAGED]


def test_a_damaged_model_differs_in_one_byte_and_keeps_the_digest_of_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "model.pmml"
    weights, intercepts = np.array([[1.0, 2.0]]), np.array([0.5])
    file.write_text(logistic_regression(weights, intercepts, ("a", "b"), ("no", "yes"), "kind"))
    (tmp_path / "models").mkdir()
    arguments = ["publish", str(file), "--data-type", "wine", "--version", "3"]
    assert publish_damaged(arguments=arguments, models=str(tmp_path / "models"))
    [published] = (tmp_path / "models").iterdir()
    descriptor, whole = ModelDescriptor.FromString(published.read_bytes()), file.read_bytes()
    assert sum(a != b for a, b in zip(descriptor.data, whole, strict=True)) == 1
    assert descriptor.sha256 == hashlib.sha256(whole).hexdigest()


def test_the_race_holds_up_calls_publishes_plans_and_unpublishes(models: Any, tmp_path: Path) -> None:
    steps = RaceSteps(models, tmp_path / "faults.json")
    assert (tmp_path / "faults.json").read_text() == f'{{"deep": {USUAL_MS}}}'
    steps.hold_up(SLOW_MS)
    assert (tmp_path / "faults.json").read_text() == f'{{"deep": {SLOW_MS}}}' and steps.delay_ms == SLOW_MS
    steps.decide_by(2)
    steps.unpublish_deep()
    plan, unpublished = models.bench.asked
    assert plan[:1] + plan[2:] == (
        *("plan", "--data-type", "wine", "--version", "2", "--to-folder", models.models),
    )
    assert plan[1].read_text().startswith('{"policy"') and steps.plan == 2
    assert unpublished == ("unpublish", "wine", "--name", "deep", "--to-folder", models.models)


def test_what_is_assembled_is_what_is_scored(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.make()
    appear(folders.requests / "assembled" / "one", b"x")
    assert (folders.scoring / "records" / "house" / "one").read_bytes() == b"x"


def test_days_are_written_when_they_are_due_once_the_job_runs(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.make()
    for day in range(3):
        for source, lines in (("sales", b"a\nb\n"), ("listings", b"c\n")):
            appear(folders.story / source / f"day-{day:02}.jsonl", lines)
    watch: Any = Stub(history={"a": 0}, outcomes=0, scoring=Stub(accounted=0))
    runs: list[bool] = []
    days = Days(folders, 30, lambda: bool(runs), watch)
    assert not days.flow(1.0, 0, hold=False)
    runs.append(True)
    assert not days.flow(2.0, 0, hold=False) and (days.day, days.written) == (0, 0)
    before = days.progress()
    assert not days.flow(2.15, 0, hold=False) and (days.day, days.written) == (1, 3)  # 4.5 were due
    assert days.progress() != before
    assert not days.flow(2.2, 0, hold=False) and days.flow(2.4, 0, hold=False)
    assert days.written == 9 and days.flow(9.0, 1, hold=False) and days.settled()
    files = sorted(path.name for path in (folders.features / "records" / "sales").iterdir())
    assert files == ["day-00.jsonl", "day-01.jsonl", "day-02.jsonl"]


def test_a_refused_house_model_ends_the_demo() -> None:
    def watch(*kinds: EventKind) -> Any:
        events = [ModelEvent(kind, "house", "m", 1, "", 0, 0, "digest", "why") for kind in kinds]
        return Stub(scoring=Stub(events=[EVENTS[0], *events]))

    def train(watch: Any) -> Stage:
        steps: Any = Stub(**dict.fromkeys(("training_set", "serve", "assemble", "train", "ask")))
        facts: Any = Stub()
        return house_stages(steps, facts, watch)[2]

    assert not train(watch()).done() and train(watch(EventKind.SERVED)).done()
    with pytest.raises(DemoError, match="refused at step digest: why"):
        train(watch(EventKind.REFUSED)).done()


def test_a_stage_of_serve_publishes_its_models_and_ends_when_each_was_served_or_refused(
    models: Any, tmp_path: Path
) -> None:
    watch = Watch(tmp_path, {})
    first, then, *others = serve_stages(models, watch, lambda: False)
    assert not first.done() and not first.steps and sum(s.share for s in (first, then, *others)) == 1.0
    for step in then.steps:
        step()
    assert models.asked == [WINE_1, CANCER_1]
    assert then.missing == "wine v1 or cancer v1 was neither served nor refused"
    for model, kind in ((WINE_1, EventKind.REFUSED), (CANCER_1, EventKind.SERVED)):
        assert not then.done()
        watch.served.events.append(ModelEvent(kind, model.data_type, "", model.version, "", 0, 0))
    assert then.done()
