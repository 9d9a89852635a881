"""The registry in a file: what it gives back, what it refuses, and several writers at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.errors import RegistryError, StoreError
from schemas.features.declarations import (
    Column,
    Count,
    Declarations,
    Enrichment,
    FeatureType,
    OnThreshold,
    Reference,
    Value,
)
from tests.feature_cases import ALARM, CREATOR, DECLARED, DISTRICTS, HOUSES, INPUTS, SALES
from udfs.stores.online.base import StoredView
from udfs.stores.registry.base import FeatureRef, Lineage
from udfs.stores.registry.sql import SqlRegistry


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def registry(url: str) -> Iterator[SqlRegistry]:
    opened = SqlRegistry(url)
    opened.apply(DECLARED)
    yield opened
    opened.close()


def changed(thing: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(thing, **changes)


def test_what_was_registered_comes_back_from_the_file(registry: SqlRegistry, url: str) -> None:
    again = SqlRegistry(url)
    known = again.declarations()
    assert known.sources == DECLARED.sources
    assert [v.id for v in known.views] == ["districts_v1", "alarm_v2", "houses_v1"]
    assert {*known.views} == {*DECLARED.views}
    assert again.view("alarm_v2") == ALARM
    sold, mean = ("sold", FeatureType.INT64), ("mean_price", FeatureType.FLOAT64)
    entity = (("district", FeatureType.INT64),)
    assert again.stored("districts_v1") == StoredView("districts_v1", entity, (sold, mean), 864_000_000)


def test_the_same_again_changes_nothing(registry: SqlRegistry) -> None:
    before = registry.declarations()
    assert registry.apply(DECLARED) == []
    assert registry.declarations() == before


def test_views_that_an_older_release_stored_are_read(registry: SqlRegistry, tmp_path: Path) -> None:
    emit = OnThreshold(feature="sold", limit=3)
    alerts = changed(DISTRICTS, name="alerts", emit=emit, online_provisional=False)
    registry.apply(Declarations(sources=(SALES,), views=(alerts,)))
    with sqlite3.connect(tmp_path / "registry.db") as file:
        where = "FROM millrace_views WHERE id = 'alerts_v1'"
        ((stored,),) = file.execute(f"SELECT declaration {where}").fetchall()
        old = stored.replace('"threshold"', '"crossing"').replace('"online_provisional"', '"online_early"')
        assert '"crossing"' in old and '"online_early"' in old
        file.execute("UPDATE millrace_views SET declaration = ? WHERE id = 'alerts_v1'", (old,))
    assert registry.view("alerts_v1") == alerts
    assert alerts in registry.declarations().views
    assert registry.lineage(FeatureRef("alerts_v1", "sold")).owner == alerts.owner
    assert registry.apply(Declarations(sources=(SALES,), views=(alerts,))) == []


def test_another_owner_and_description_are_no_other_content(registry: SqlRegistry) -> None:
    told = tuple(msgspec.structs.replace(f, description="told") for f in DISTRICTS.features)
    same = changed(DISTRICTS, owner="somebody else", description="better told", features=told)
    registry.apply(Declarations(sources=(SALES,), views=(same,)))
    assert registry.view("districts_v1") == same


def test_a_version_never_changes_its_content(registry: SqlRegistry) -> None:
    other = changed(DISTRICTS, ttl="11 d")
    with pytest.raises(RegistryError, match=r"districts_v1 is registered with other content.*version 2"):
        registry.apply(Declarations(sources=(SALES,), views=(other,)))
    assert registry.view("districts_v1") == DISTRICTS
    second = changed(other, version=2)
    assert registry.apply(Declarations(views=(second,))) == ["districts_v2"]
    assert registry.view("districts_v1") == DISTRICTS and registry.view("districts_v2") == second


def test_a_source_may_move_but_not_change_the_types_of_features(registry: SqlRegistry) -> None:
    moved = changed(SALES, topic="other", out_of_orderness="1 min")
    assert registry.apply(Declarations(sources=(moved,))) == []
    assert registry.declarations().sources == (moved,)
    columns = tuple(changed(c, type=FeatureType.INT64) if c.name == "price" else c for c in SALES.columns)
    with pytest.raises(RegistryError, match="would change the types of its features"):
        registry.apply(Declarations(sources=(changed(SALES, columns=columns),)))
    with pytest.raises(RegistryError, match=r"contradict itself.*there is no 'price'"):
        registry.apply(Declarations(sources=(changed(SALES, columns=SALES.columns[:3]),)))
    assert registry.declarations().sources == (moved,)


def test_references_are_kept_with_the_views_that_use_them(registry: SqlRegistry) -> None:
    towns = Reference(
        name="towns",
        key="id",
        event_time="at",
        columns=(
            Column(name="id", type=FeatureType.INT64),
            Column(name="at", type=FeatureType.TIMESTAMP),
            Column(name="name", type=FeatureType.STRING),
        ),
    )
    step = Enrichment(reference="towns", on="district", columns={"town": "name"})
    view = changed(HOUSES, name="towns", steps=(step,), features=(Value(name="town"),))
    registry.apply(Declarations(references=(towns,), views=(view,)))
    known = registry.declarations()
    assert known.references == (towns,) and registry.view("towns_v1") == view
    assert registry.stored("towns_v1").features == (("town", FeatureType.STRING),)
    above = changed(HOUSES, name="above", source="towns_v1", features=(Value(name="town"),))
    registry.apply(Declarations(views=(above,)))
    for name in ("towns_v1", "above_v1"):
        assert registry.lineage(FeatureRef(name, "town")).references == ("towns",)
    assert registry.lineage(FeatureRef("houses_v1", "price")).references == ()


def test_lineage_says_where_a_feature_comes_from_and_who_reads_it(registry: SqlRegistry) -> None:
    registry.put_model(INPUTS)
    registry.put_model(replace(INPUTS, model="alarm", version=7, inputs=(("x", INPUTS.inputs[0][1]),)))
    assert registry.lineage(FeatureRef("alarm_v2", "latest")) == Lineage(
        FeatureRef("alarm_v2", "latest"),
        FeatureType.FLOAT64,
        "sales",
        ("districts_v1",),
        "prices",
        "The latest mean.",
        (),
    )
    mean = registry.lineage(FeatureRef("districts_v1", "mean_price"))
    assert mean.readers == (("alarm", 7), ("estimate", 0))
    assert (mean.through, mean.description) == ((), "Of the month.")
    names = ["districts_v1:sold", "districts_v1:mean_price", "alarm_v2:latest", "houses_v1:price"]
    assert [str(one.feature) for one in registry.lineages()] == names


def test_a_models_inputs_keep_their_order_and_versions_stand_apart(registry: SqlRegistry) -> None:
    fifth = replace(INPUTS, version=5, inputs=INPUTS.inputs[:1])
    third = replace(INPUTS, version=3, inputs=INPUTS.inputs[::-1])
    for version in (fifth, third):
        registry.put_model(version)
    assert registry.model("estimate", 3) == third
    assert registry.model("estimate") == fifth, "the greatest, as there is none for all"
    with pytest.raises(RegistryError, match="what version 4 of model 'estimate' reads"):
        registry.model("estimate", 4)
    registry.put_model(INPUTS)
    assert registry.model("estimate", 4) == registry.model("estimate") == INPUTS
    assert registry.model("estimate", 3) == third
    every = replace(INPUTS, inputs=INPUTS.inputs[:1])
    registry.put_model(every)
    assert registry.model("estimate") == every
    registry.put_model(third)
    with pytest.raises(RegistryError, match="version 3 of model estimate is registered with other inputs"):
        registry.put_model(replace(third, inputs=INPUTS.inputs))


def test_creators_are_replaced(registry: SqlRegistry) -> None:
    assert registry.on_demand("houses_v1") is None
    registry.put_on_demand(CREATOR)
    assert registry.on_demand("houses_v1") == CREATOR
    registry.put_on_demand(replace(CREATOR, timeout_ms=50))
    assert registry.on_demand("houses_v1") == replace(CREATOR, timeout_ms=50)


REF = FeatureRef("houses_v1", "price")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inputs": (("x", FeatureRef("nowhere_v1", "price")),)}, "does not know the view 'nowhere_v1'"),
        ({"inputs": (("x", FeatureRef("houses_v1", "size")),)}, "no feature 'size'; it has price"),
        ({"inputs": (("x", REF), ("x", REF))}, "each once"),
        ({"inputs": (("features", REF),)}, "none of them features or id"),
        ({"inputs": ()}, "must not be empty"),
        ({"data_type": ""}, "must not be empty"),
        ({"version": -1}, "nor the version negative"),
    ],
)
def test_inputs_of_which_no_vector_can_be_made(
    registry: SqlRegistry, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(RegistryError, match=says):
        registry.put_model(replace(INPUTS, **changes))
    with pytest.raises(RegistryError, match="model 'estimate'"):
        registry.model("estimate")


def test_one_key_of_two_types_is_refused(registry: SqlRegistry) -> None:
    named = Column(name="district", type=FeatureType.STRING)
    columns = tuple(named if c.name == "district" else c for c in SALES.columns)
    source = changed(SALES, name="named", columns=columns)
    view = changed(DISTRICTS, name="named_districts", source="named")
    registry.apply(Declarations(sources=(source,), views=(view,)))
    inputs = (*INPUTS.inputs, ("y", FeatureRef("named_districts_v1", "sold")))
    with pytest.raises(RegistryError, match=r"'district' is int64 in districts_v1 and string in named"):
        registry.put_model(replace(INPUTS, inputs=inputs))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"view": "nowhere_v1"}, "does not know the view"),
        ({"url": "ftp://host/x"}, "no http or https address"),
        ({"url": "http:///x"}, "no http or https address"),
        ({"paths": ()}, "each of price needs a path"),
        ({"paths": (("price", "a"), ("size", "b"))}, "each of price needs a path"),
        ({"paths": (("price", "a[?"),)}, "'a\\[\\?' is no JMESPath expression"),
        ({"concurrency": 0}, "must be 1 or more"),
    ],
)
def test_creators_that_could_make_no_row(registry: SqlRegistry, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RegistryError, match=says):
        registry.put_on_demand(replace(CREATOR, **changes))
    assert registry.on_demand("houses_v1") is None


def test_unknown_names(registry: SqlRegistry) -> None:
    for ask in (registry.view, registry.stored, registry.on_demand):
        with pytest.raises(RegistryError, match="does not know the view 'houses_v9'"):
            ask("houses_v9")
    with pytest.raises(RegistryError, match="no feature 'size'"):
        registry.lineage(FeatureRef("houses_v1", "size"))


def test_reading_makes_no_registry(url: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="there is no registry at sqlite"):
        SqlRegistry(url).declarations()
    assert [*tmp_path.iterdir()] == []
    sqlite3.connect(tmp_path / "registry.db").execute("CREATE TABLE other (x)")
    with pytest.raises(RegistryError, match="there is no registry at sqlite"):
        SqlRegistry(url).declarations()


def test_a_later_schema_and_a_file_of_another_kind_are_refused(
    registry: SqlRegistry, url: str, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "registry.db") as file:
        file.execute("UPDATE millrace_schema SET version = 3")
    for ask in (registry.declarations, lambda: registry.apply(DECLARED)):
        with pytest.raises(RegistryError, match="has schema 3; this release knows 2"):
            ask()
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(StoreError, match="not a database"):
        SqlRegistry(f"sqlite:///{tmp_path}/text.db").declarations()


@pytest.mark.parametrize("bad", ["", "nothing", "mysql://host/db", "sqlite://", "mongodb://host/db"])
def test_urls_of_no_registry(bad: str) -> None:
    with pytest.raises(RegistryError, match="must be sqlite:///FILE or postgresql"):
        SqlRegistry(bad)


def test_no_password_in_messages() -> None:
    with pytest.raises(StoreError) as caught:
        SqlRegistry("postgresql+psycopg://me:secret@127.0.0.1:1/db").declarations()
    assert "secret" not in str(caught.value) and "me:***@127.0.0.1:1" in str(caught.value)


def test_writers_at_once_leave_the_work_of_all(url: str) -> None:
    def register(n: int) -> tuple[str, ...]:
        registry = SqlRegistry(url)
        count = changed(DISTRICTS.features[0], of=Count(), name=f"sold_{n}")
        own = changed(DISTRICTS, name=f"own_{n}", features=(count,))
        return tuple(registry.apply(Declarations(sources=(SALES,), views=(HOUSES, own))))

    with ThreadPoolExecutor(6) as threads:
        new = [*threads.map(register, range(6))]
    assert sorted(view for views in new for view in views) == [
        "houses_v1",
        *(f"own_{n}_v1" for n in range(6)),
    ]
    assert {v.id for v in SqlRegistry(url).declarations().views} == {view for views in new for view in views}
