"""The registry in PostgreSQL: what the file gives back, the database gives back, with several writers too."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from devservices.postgres import Postgres
from schemas.errors import RegistryError
from schemas.features.declarations import Declarations
from schemas.results.records import EventKind
from tests.feature_cases import CREATOR, DECLARED, DISTRICTS, INPUTS, SALES
from tests.registered import event, experiment_event, quality, registered, stats
from udfs.stores.registry.model_records import AliasChange, RegisteredPlan
from udfs.stores.registry.models import ModelRegistry
from udfs.stores.registry.sql import SqlRegistry


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if not Postgres.available():
        pytest.skip("PostgreSQL is not installed (Debian's postgresql)")
    with Postgres() as server:
        yield server.url


def test_writers_at_once_make_one_schema_and_one_registry(url: str) -> None:
    with pytest.raises(RegistryError, match="there is no registry"):
        SqlRegistry(url).declarations()

    def register(n: int) -> tuple[str, ...]:
        own = msgspec.structs.replace(DISTRICTS, name=f"own_{n}")
        return tuple(SqlRegistry(url).apply(Declarations(sources=(SALES,), views=(*DECLARED.views, own))))

    with ThreadPoolExecutor(4) as threads:
        new = [view for views in threads.map(register, range(4)) for view in views]
    wanted = ["alarm_v2", "districts_v1", "houses_v1", *(f"own_{n}_v1" for n in range(4))]
    assert sorted(new) == wanted
    assert sorted(v.id for v in SqlRegistry(url).declarations().views) == wanted


def test_both_databases_answer_alike(url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("registry") / "registry.db"
    answers = []
    for one in (url, f"sqlite:///{file}"):
        registry = SqlRegistry(one)
        registry.apply(DECLARED)
        registry.put_model(INPUTS)
        registry.put_on_demand(CREATOR)
        names = ("alarm_v2", "districts_v1", "houses_v1")
        lineages = [known for known in registry.lineages() if known.feature.view in names]
        answers.append(
            (
                sorted(lineages, key=lambda known: str(known.feature)),
                [(registry.view(name), registry.stored(name)) for name in names],
                registry.model("estimate", 12),
                registry.on_demand("houses_v1"),
                registry.declarations().sources,
            )
        )
        other = msgspec.structs.replace(DISTRICTS, ttl="1 d")
        with pytest.raises(RegistryError, match="registered with other content"):
            registry.apply(Declarations(views=(other,)))
        registry.close()
    assert answers[0] == answers[1]


def test_both_databases_keep_models_alike(url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("models") / "registry.db"
    answers = []
    for one in (url, f"sqlite:///{file}"):
        registry = ModelRegistry(one)
        for _ in range(2):
            for version in (3, 4):
                registry.put(registered(version, descriptor=b"\0\xff"))
            registry.put_seen(registered(4, publisher="", description="a\0b"))
            registry.put_plan(RegisteredPlan("wine", "plan", 2, "ff", '{"a": "\\u0000"}', 5))
            registry.add_events("serve", [event(EventKind.SERVED, 100, reason="a\0b")])
            registry.add_statistics("serve", [stats(100, 300), stats(100, 200)])
            registry.set_alias(AliasChange("wine", "forest", "champion", 4, 12, "ada", "better"))
            registry.add_experiments([experiment_event("started", 9, reason="a\0b")] * 2)
            registry.add_quality(
                [quality(9, 3, 1), quality(8, 1, 1), quality(7, 1, 1, arm="a\0", plan="p" * 500)]
            )
        answers.append(
            (
                registry.models(),
                registry.plans(),
                registry.events(),
                registry.statistics(),
                registry.alias_changes(),
                registry.quality("forest", 3, "wine"),
                registry.experiments("forest"),
            )
        )
        registry.close()
    assert answers[0] == answers[1]
    assert [len(one) for one in answers[0]] == [2, 1, 1, 1, 1, 2, 1]
