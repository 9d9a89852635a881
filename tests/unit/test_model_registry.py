"""Models in the registry: two accounts of one model, aliases, what jobs tell, and a registry of an earlier
release."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.errors import RegistryError
from schemas.results.records import CandidateStats, EventKind
from tests.feature_cases import DECLARED, INPUTS
from tests.registered import digest, event, experiment_event, quality, registered, stats
from udfs.stores.registry.model_records import (
    AliasChange,
    Metric,
    RegisteredModel,
    RegisteredPlan,
    StoredContent,
    merged,
)
from udfs.stores.registry.models import ModelRegistry
from udfs.stores.registry.sql import SqlRegistry


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def registry(url: str) -> Iterator[ModelRegistry]:
    opened = ModelRegistry(url)
    opened.make()
    yield opened
    opened.close()


def test_what_was_registered_comes_back(registry: ModelRegistry, url: str) -> None:
    model = registered(descriptor=b"\0\xff")
    assert registry.put(model) == model
    again = ModelRegistry(url)
    assert again.models() == [model]
    assert again.model("forest", 3) == model == again.by_stamp("wine", "forest", 3, model.digest[:16])
    assert again.by_stamp("wine", "forest", 3, "00") is None
    with pytest.raises(RegistryError, match="no version 9 of model 'forest': the newest that it knows are 3"):
        again.model("forest", 9)


def test_a_publisher_knows_more_than_a_stream_whoever_comes_first(url: str, tmp_path: Path) -> None:
    told = registered(metrics=(Metric("accuracy", 0.9, "holdout", 7),))
    seen = registered(
        publisher="", training_set=None, tags={}, size=12, metrics=(Metric("accuracy", 0.9),), description="d"
    )
    first, second = ModelRegistry(url), ModelRegistry(f"sqlite:///{tmp_path}/other.db")
    first.put(told)
    first.put_seen(seen)
    second.put_seen(seen)
    second.put(told)
    assert first.models() == second.models()
    (whole,) = first.models()
    assert (whole.publisher, whole.size, whole.description) == ("ada", 12, "d")
    assert [(m.name, m.dataset) for m in whole.metrics] == [("accuracy", "holdout")]


def test_metrics_tags_and_descriptions_may_be_told_later(registry: ModelRegistry) -> None:
    registry.put(registered())
    later = registered(metrics=(Metric("auc", 0.8, "live", 9),), tags={"team": "blue", "x": "1"})
    whole = registry.put(later)
    assert registry.models() == [whole]
    assert {(m.name, m.dataset, m.value) for m in whole.metrics} == {
        ("accuracy", "holdout", 0.53),
        ("auc", "live", 0.8),
    }
    assert whole.tags == {"team": "blue", "x": "1"}


def test_other_content_under_one_version_is_another_model(registry: ModelRegistry) -> None:
    one, forced = registered(), registered(digest=digest("other"), created=9000)
    registry.put(one)
    registry.put(forced)
    assert registry.model("forest", 3) == forced
    assert registry.by_stamp("wine", "forest", 3, one.digest[:16]) == one


def test_a_name_that_two_data_types_use_needs_the_data_type(registry: ModelRegistry) -> None:
    registry.put(registered())
    registry.put(registered(data_type="tea"))
    with pytest.raises(RegistryError, match="data types tea, wine: say which"):
        registry.model("forest", 3)
    assert registry.model("forest", 3, "tea").data_type == "tea"


def test_aliases_keep_their_history(registry: ModelRegistry) -> None:
    for version in (3, 4):
        registry.put(registered(version))
    assert registry.set_alias(AliasChange("wine", "forest", "champion", 3, 10, "ada", "first"))
    assert not registry.set_alias(AliasChange("wine", "forest", "champion", 3, 11))
    assert registry.set_alias(AliasChange("wine", "forest", "champion", 4, 12, "ada", "better"))
    assert registry.set_alias(AliasChange("wine", "forest", "challenger", 3, 12))
    assert registry.model("forest", "champion").version == 4
    assert registry.set_alias(AliasChange("wine", "forest", "challenger", 0, 13))
    with pytest.raises(RegistryError, match="'challenger' is no alias of model 'forest'"):
        registry.alias("forest", "challenger")
    told = [(c.alias, c.version, c.at, c.reason) for c in registry.alias_changes("forest")]
    assert told == [
        ("champion", 3, 10, "first"),
        ("challenger", 3, 12, ""),
        ("champion", 4, 12, "better"),
        ("challenger", 0, 13, ""),
    ]
    with pytest.raises(RegistryError, match="no version 5 of model 'forest'"):
        registry.set_alias(AliasChange("wine", "forest", "champion", 5, 20))
    with pytest.raises(RegistryError, match=r"changed at .*Z.* not before .*the later one counts"):
        registry.set_alias(AliasChange("wine", "forest", "champion", 3, 12))
    with pytest.raises(RegistryError, match="'7' is no alias"):
        registry.set_alias(AliasChange("wine", "forest", "7", 3, 30))


def test_what_jobs_tell_is_kept_once_and_the_newest_of_it(registry: ModelRegistry) -> None:
    told = [event(EventKind.SERVED, 100), event(EventKind.SERVED, 200, 4), event(EventKind.SERVED, 100)]
    assert registry.add_events("serve", told) == 2
    assert registry.add_events("serve", told) == 0
    assert registry.add_events("other", told[:1]) == 1
    found = registry.events("forest", "wine", until=150)
    assert sorted((job, e.at) for job, e in found) == [("other", 100), ("serve", 100)]
    assert len(registry.events()) == 3 and registry.events("other") == []

    newer, older = stats(100, 300), stats(100, 200)
    candidate = CandidateStats("wine", "forest", 3, digest("forest 3"), 0, 100, 250, asked=5, wins=2)
    assert registry.add_statistics("serve", [newer, older, candidate]) == 2
    assert registry.add_statistics("serve", [older, newer, candidate]) == 0
    kept = registry.statistics("forest")
    assert ("serve", newer) in kept and ("serve", candidate) in kept and len(kept) == 2


def test_an_event_of_a_release_that_told_no_code_is_no_second_one(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    old, new = event(EventKind.SERVED, 100), event(EventKind.SERVED, 200, code="5e11")
    registry.add_events("serve", [old])
    with sqlite3.connect(tmp_path / "registry.db") as file:
        ((row_id,),) = file.execute("SELECT id FROM millrace_model_events")
    assert row_id == "d36cb2d59bb55b1ddb99a59c3e250b5412e37c10f17b839d352ef43682649f69"
    assert registry.add_events("serve", [old, new]) == 1
    assert registry.events() == [("serve", old), ("serve", new)]


def test_the_newest_quality_of_each_key_is_kept(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [
        quality(9, 1, 1),
        quality(7, 5, 5),
        quality(8, 1, 2, arm="b", experiment="x"),
        quality(7, 1, 1, 4),
    ]
    assert registry.add_quality(told) == 3
    assert registry.add_quality([*told, *told]) == 0
    newer = quality(10, 2, 1)
    assert registry.add_quality([newer]) == 1
    assert registry.quality("forest", 3, "wine") == sorted([newer, told[2]], key=lambda one: one.key)
    assert registry.quality("forest", 3, "tea") == registry.quality("tree", 3, "wine") == []
    monkeypatch.setattr("udfs.stores.registry.model_quality.MOST_QUALITY", 2)
    last = quality(11, 1, 1, 5)
    registry.add_quality([last, quality(1, 1, 1, 9, model="other")])
    kept = [registry.quality("forest", version, "wine") for version in (3, 4, 5)]
    assert kept == [[newer], [], [last]] and len(registry.quality("other", 9, "wine")) == 1


def test_contents_and_plans_are_found_by_digest_and_version(registry: ModelRegistry) -> None:
    model = registered()
    place = StoredContent(model.digest, "file:///store/x", 12)
    for _ in range(2):
        registry.put_seen(model, [place])
        registry.put_plan(RegisteredPlan("wine", "plan", 2, "ff", "{}", 5))
    assert registry.contents(model.digest) == [place]
    assert [p.plan for p in registry.plans("plan", "wine")] == ["{}"]


@pytest.mark.parametrize(
    "names", [{"name": "n" * 501}, {"name": "a\0b"}, {"name": "\ud800"}, {"version": 2**63}]
)
def test_what_a_database_cannot_hold_is_refused_by_name(registry: ModelRegistry, names: dict) -> None:
    with pytest.raises(RegistryError, match=next(iter(names))):
        registry.put_seen(registered(**names))
    registry.put_seen(registered(description="a\0b"))
    assert registry.model("forest", 3).description == "a\N{REPLACEMENT CHARACTER}b"


def test_a_registry_of_the_earlier_release_is_read_and_gets_the_new_tables(url: str, tmp_path: Path) -> None:
    old = SqlRegistry(url)
    old.apply(DECLARED)
    with sqlite3.connect(tmp_path / "registry.db") as file:
        names = [n for (n,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        added = [n for n in names if n.startswith("millrace_model_") and n != "millrace_model_inputs"]
        assert len(added) == 8
        for name in sorted([*added, "millrace_plans"], key=lambda n: n != "millrace_model_metrics"):
            file.execute(f"DROP TABLE {name}")
        file.execute("UPDATE millrace_schema SET version = 1")
    assert {v.id for v in SqlRegistry(url).declarations().views} == {v.id for v in DECLARED.views}
    with pytest.raises(RegistryError, match="of a release that kept no models"):
        ModelRegistry(url).models()
    SqlRegistry(url).put_model(INPUTS)
    assert ModelRegistry(url).models() == []
    ModelRegistry(url).put(registered())
    assert len(ModelRegistry(url).models()) == 1
    assert SqlRegistry(url).model(INPUTS.model, INPUTS.version) == INPUTS


def test_tables_that_an_earlier_release_did_not_make_are_missed_by_nobody(url: str, tmp_path: Path) -> None:
    registry = ModelRegistry(url)
    registry.put(registered())
    with sqlite3.connect(tmp_path / "registry.db") as file:
        file.execute("DROP TABLE millrace_model_quality")
        file.execute("DROP TABLE millrace_model_experiments")
    assert registry.quality("forest", 3, "wine") == registry.experiments("forest") == []
    assert registry.add_quality([quality(9, 1, 1)]) == 1
    assert registry.add_experiments([experiment_event("started", 9)]) == 1
    assert registry.quality("forest", 3, "wine") == [quality(9, 1, 1)]
    assert registry.experiments("forest") == [experiment_event("started", 9)]


def test_writers_at_once_lose_nothing(url: str) -> None:
    def register(n: int) -> None:
        own = ModelRegistry(url)
        own.put(registered(n + 1))
        own.add_events("serve", [event(EventKind.SERVED, n)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(register, range(12)))
    assert [m.version for m in ModelRegistry(url).models()] == [*range(1, 13)]
    assert len(ModelRegistry(url).events()) == 12


def test_merging_an_account_with_itself_changes_nothing() -> None:
    model = registered()
    bare = RegisteredModel(*model.key)
    assert merged(model, model) == model
    assert merged(model, bare) == model == merged(bare, model)
    both = registered(metrics=(Metric("accuracy", 0.6), Metric("accuracy", 0.5, "holdout")))
    assert merged(both, both) == both
