"""What settings say about models' limits, and the quotas that come of it in routing."""

from __future__ import annotations

import pytest

from jobs.settings.run import settings_of
from jobs.settings.serve import ServeSettings
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import QuotaError, SettingsError
from schemas.results.records import EventKind
from udfs.ensemble.routing.router import Router
from udfs.models.descriptor import DECIDE, build, parse
from udfs.models.model_store import StoreSpec
from udfs.models.quotas import Quotas

KAFKA = ["--kafka.bootstrap", "b:1", "--kafka.records", '{"topic": "wine"}']


def test_types_that_no_setting_names_are_refused_where_all_are_named():
    def quotas(*flags: str) -> Quotas:
        return settings_of(ServeSettings, [*flags]).scoring(StoreSpec()).quotas

    assert quotas(*KAFKA) == Quotas(types=frozenset({"wine"}))
    assert quotas(*KAFKA, "--data-types", '{"tea": {"fields": ["a"]}}').types == {"wine", "tea"}
    for flags in (
        (*KAFKA, "--kafka.data-type-header", "t"),
        (*KAFKA, "--models.new-types", "true"),
        ("--folder.root", "/tmp"),
    ):
        assert quotas(*flags).new_types == 64
        assert quotas(*flags, "--models.most-new-types", "3").new_types == 3
        assert quotas(*flags, "--models.new-types", "false").new_types == 0


def test_types_that_no_setting_names_are_taken_up_to_a_number():
    quotas = Quotas(types=frozenset({"wine"}), new_types=2)
    quotas.check_type("wine", ("a", "b", "c"))
    quotas.check_type("b", ("wine", "a", "b"))
    quotas.check_type("c", ("a", "b", "c"))  # as many instances' types may come together in one
    with pytest.raises(QuotaError, match="'c', and there are models of 2 such types, which is the most"):
        quotas.check_type("c", ("wine", "a", "b"))


def test_the_router_takes_strange_types_up_to_a_number():
    quotas = Quotas(types=frozenset({"wine"}), new_types=1)
    router = Router(JsonCodec(), raw_json=True, max_batch=8, subtask=0, quotas=quotas)
    for data_type in ("tea", "coffee", "wine", "tea"):
        if not router.knows(data_type):
            router.restore(data_type, None)
        descriptor = build(data_type=data_type, name="m", version=0, data=b"x")
        router.publish(descriptor, parse(descriptor))
    assert [router.routes(t) for t in ("tea", "coffee", "wine")] == [True, False, True]


def test_limits_go_where_they_hold():
    flags = ["--models.isolation", "process", "--models.check-seconds", "7", "--models.loaded-mb", "10"]
    spec = settings_of(ServeSettings, [*KAFKA, *flags, "--models.call-seconds", "0.5"]).scoring(StoreSpec())
    assert (spec.isolation.mode, spec.isolation.limits.loaded_bytes) == ("process", 10 << 20)
    assert spec.isolation.limits.deadline_seconds == spec.isolation.limits.cpu_seconds == 7
    assert spec.policy("wine").deadline_ms == 500
    with pytest.raises(SettingsError):
        settings_of(ServeSettings, [*KAFKA, "--models.isolation", "container"])


def test_the_router_takes_no_more_candidates_and_no_strange_types():
    quotas = Quotas(types=frozenset({"wine"}), candidates=2)
    router = Router(JsonCodec(), raw_json=True, max_batch=8, subtask=0, quotas=quotas)
    for data_type in ("wine", "tea"):
        router.restore(data_type, None)
    for name in ("a", "b", "c", "a"):
        descriptor = build(data_type="wine", name=name, version=0, data=b"x" + name.encode())
        assert router.publish(descriptor, parse(descriptor)) == []
    assert router._types["wine"].names == ("a", "b")
    plan = build(data_type="tea", operation=DECIDE, plan="{}")
    (event,) = router.publish(plan, parse(plan))
    assert event.kind is EventKind.REFUSED and event.step == "quota" and not router.routes("tea")
