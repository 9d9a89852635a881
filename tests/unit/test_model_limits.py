"""What settings say about models' limits, and the quotas that come of it in routing."""

from __future__ import annotations

import pytest

from jobs.settings.run import settings_of
from jobs.settings.serve import ServeSettings
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import SettingsError
from schemas.results.records import EventKind
from udfs.ensemble.routing.router import Router
from udfs.models.descriptor import DECIDE, build, parse
from udfs.models.model_store import StoreSpec
from udfs.models.quotas import Quotas

KAFKA = ["--kafka.bootstrap", "b:1", "--kafka.records", '{"topic": "wine"}']


def test_types_that_no_setting_names_are_refused_where_all_are_named():
    assert settings_of(ServeSettings, KAFKA).scoring(StoreSpec()).quotas.types == {"wine"}
    more = [*KAFKA, "--data-types", '{"tea": {"fields": ["a"]}}']
    assert settings_of(ServeSettings, more).scoring(StoreSpec()).quotas.types == {"wine", "tea"}
    assert (
        settings_of(ServeSettings, [*KAFKA, "--kafka.data-type-header", "t"])
        .scoring(StoreSpec())
        .quotas.types
        is None
    )
    assert (
        settings_of(ServeSettings, [*KAFKA, "--models.new-types", "true"]).scoring(StoreSpec()).quotas.types
        is None
    )
    assert settings_of(ServeSettings, ["--folder.root", "/tmp"]).scoring(StoreSpec()).quotas.types is None


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
