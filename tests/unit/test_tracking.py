"""Messages about models into the registry: what is none is a dead letter, and repeats change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.errors import StoreError
from schemas.lifecycle.experiments import ArmFigures, write_event
from schemas.lifecycle.quality import write_message
from schemas.micro_batch import MicroBatch
from schemas.model_pb2 import ModelDescriptor
from schemas.results.records import CandidateStats, EventKind, encode
from tests.registered import digest, event, experiment_event, quality, stats
from udfs.lifecycle.repository.tracking import Told, Tracker, TrackSpec
from udfs.models.descriptor import DECIDE, build, parse
from udfs.models.digest import digest_of
from udfs.models.model_store import StoreSpec
from udfs.stores.registry.model_records import Metric, RegisteredModel
from udfs.stores.registry.models import ModelRegistry

OF_X = digest_of(b"x").sha256


@pytest.fixture
def spec(tmp_path: Path) -> TrackSpec:
    return TrackSpec(f"sqlite:///{tmp_path}/r.db", StoreSpec((tmp_path / "store").as_uri()), "", 1.0)


def batch(*payloads: bytes, job: str = "serve", **more: Any) -> MicroBatch:
    count = range(len(payloads))
    return MicroBatch(
        job, "model-events", payloads, [0 for _ in count], [*count], [None for _ in count], **more
    )


def everything(registry: ModelRegistry) -> Sequence[object]:
    return registry.models(), registry.plans(), registry.events(), registry.statistics()


def test_streams_are_kept_and_a_replay_changes_nothing(spec: TrackSpec) -> None:
    descriptor = build(data_type="wine", name="forest", model_type="PMML", data=b"x", version=3, created_ms=5)
    plan = build(data_type="wine", operation=DECIDE, plan="{}", version=1, created_ms=6)
    candidate = CandidateStats("wine", "forest", 3, digest("forest 3"), 0, 100, 250, asked=5)
    streams = {
        Told.PUBLISHED: batch(descriptor, plan, job="models"),
        Told.EVENTS: batch(encode(event(EventKind.SERVED, 100)), encode(event(EventKind.SERVED, 200, 4))),
        Told.STATISTICS: batch(encode(stats(100, 150)), encode(candidate), encode(stats(100, 170))),
    }
    for kind, sent in streams.items():
        assert spec.tracker(kind).take(sent) == []
    registry = ModelRegistry(spec.registry)
    before = everything(registry)
    for kind, sent in [*streams.items(), *reversed(streams.items())]:
        assert spec.tracker(kind).take(sent) == []
    assert everything(registry) == before
    models = {(m.version, m.model_type, m.digest) for m in registry.models()}
    assert models == {
        (3, "PMML", digest_of(b"x").sha256),
        (3, "", digest("forest 3")),  # served with other content than was published
        (4, "", digest("forest 4")),
    }
    (content,) = registry.contents(digest_of(b"x").sha256)
    assert content.size == 1 and content.location.startswith("file:")
    assert [p.name for p in registry.plans()] == ["plan"]
    assert {(job, s.at) for job, s in registry.statistics()} == {("serve", 170), ("serve", 250)}


@pytest.mark.parametrize("stream_first", [False, True])
def test_a_descriptor_adds_no_metric_beside_those_that_its_publisher_named_with_data_sets(
    spec: TrackSpec, stream_first: bool
) -> None:
    told = (Metric("rmse", 0.61, "holdout", 5), Metric("rmse", 0.5, "train", 5))
    registry, published = (
        ModelRegistry(spec.registry),
        RegisteredModel("wine", "forest", 3, OF_X, metrics=told),
    )
    descriptor = build(
        data_type="wine",
        name="forest",
        data=b"x",
        version=3,
        created_ms=5,
        metrics={"rmse": 0.61, "bias": 0.1},
    )
    steps = [
        lambda: registry.put(published),
        lambda: spec.tracker(Told.PUBLISHED).take(batch(descriptor, job="models")),
    ]
    for step in reversed(steps) if stream_first else steps:
        step()
    (known,) = registry.models()
    assert known.metrics == (Metric("bias", 0.1, "", 5), *told)


def test_quality_since_the_start_is_kept_and_that_of_windows_is_not(spec: TrackSpec) -> None:
    told = [quality(9, 1, 1), quality(9, 1, 1, window=300_000), quality(8, 3, 3, arm="b", experiment="x")]
    tracker, bad = spec.tracker(Told.QUALITY), write_message(quality(9, 1, 1, version=2**63))
    for _ in range(2):
        dead = tracker.take(batch(*map(write_message, told), b"[]", bad, b'{"format": 2}'))
        assert [letter.offset for letter in dead] == [3, 4, 5]
    tracker.close()
    assert ModelRegistry(spec.registry).quality("forest", 3, "wine") == [told[0], told[2]]


def test_what_experiments_did_is_kept_once_and_what_changes_nothing_is_not(spec: TrackSpec) -> None:
    kinds = ("started", "progress", "step", "refused", "rolled_back")
    told = [experiment_event(kind, at, reason="a\0b") for at, kind in enumerate(kinds)]
    other = experiment_event("stopped", 9, arms={"plan": ArmFigures()}, replaced="tree")
    tracker, bad = spec.tracker(Told.EXPERIMENTS), write_event(experiment_event("step", 2**63))
    for _ in range(2):
        dead = tracker.take(batch(*map(write_event, [*told, other]), b"[]", bad, b'{"format": 2}'))
        assert [letter.offset for letter in dead] == [6, 7, 8]
    tracker.close()
    known = ModelRegistry(spec.registry)
    assert known.experiments("forest") == known.experiments("forest", "wine") == told[::2]
    assert known.experiments("tree") == [other] and known.experiments("forest", "tea") == []


def test_what_is_no_message_of_its_kind_is_a_dead_letter(spec: TrackSpec) -> None:
    good = event(EventKind.SERVED, 100)
    text = orjson.loads(encode(good))
    bad = [
        b"", b"[]", b"{}", b"\xff", encode(stats(1, 2)),
        orjson.dumps({**text, "at": "noon"}), orjson.dumps({**text, "kind": "none"}),
        orjson.dumps({**text, "version": 2**63}), orjson.dumps({**text, "name": "n" * 501}),
        orjson.dumps({**text, "name": "a\0"}),
    ]  # fmt: skip
    bad += [b'{"kind":"\xff"}', b'{"more":' + b"[" * 100_000]
    dead = spec.tracker(Told.EVENTS).take(batch(*bad, encode(good)))
    assert [letter.offset for letter in dead] == [*range(len(bad))]
    assert all(letter.code == "unparsable" and letter.reason for letter in dead)
    assert [e for _, e in ModelRegistry(spec.registry).events()] == [good]
    for kind in (Told.STATISTICS, Told.PUBLISHED):
        assert len(spec.tracker(kind).take(batch(b"\xff", b"{}"))) == 2
    gone = spec.tracker(Told.EVENTS).take(batch(b"\xff", null_payloads=frozenset({0})))
    assert gone == []


def test_what_no_database_holds_is_a_dead_letter(spec: TrackSpec) -> None:
    """Else it is tried again and again, and nothing behind it is entered."""
    graph = ModelDescriptor(dataType="wine", name="g", version=1, modeltype=ModelDescriptor.GRAPH)
    sized = {"location": "file:/a", "sha256": "ab" * 32, "size": 2**64 - 1}
    graph.graph.nodes.add(name="a", modeltype=ModelDescriptor.PMML, **sized)
    graph.graph.nodes.add(name="b", modeltype=ModelDescriptor.PMML, location="file:/b")
    assert parse(graph.SerializeToString()).size == 0
    for kind, bad in (
        (Told.PUBLISHED, graph.SerializeToString()),
        (Told.STATISTICS, b'{"name":"\xff"}'),
        (Told.STATISTICS, encode(stats(1, 2)).replace(b'"usage":', b'"usage":1' + b"0" * 30)),
        (Told.EVENTS, encode(event(EventKind.SERVED, 1)).replace(b'"subtask":', b'"subtask":1' + b"0" * 30)),
        (Told.STATISTICS, b'{"more":' + b"[" * 100_000),
    ):
        (letter,) = spec.tracker(kind).take(batch(bad))
        assert letter.code == "unparsable"


def test_the_signer_that_a_job_has_verified_is_the_publisher(spec: TrackSpec) -> None:
    registry, served = ModelRegistry(spec.registry), event(EventKind.SERVED, 100)
    key = (served.data_type, served.name, served.version, served.digest)
    registry.put(RegisteredModel(*key, publisher="says so itself", description="a forest"))
    registry.put(RegisteredModel(*key[:2], 9, served.digest, publisher="ann"))
    unsigned = replace(served, version=9, at=200)
    sent = batch(encode(replace(served, signer="release")), encode(unsigned))
    assert spec.tracker(Told.EVENTS).take(sent) == []
    assert [(m.publisher, m.description) for m in registry.models()] == [
        ("release", "a forest"), ("ann", "")
    ]  # fmt: skip
    assert [e.signer for _, e in registry.events()] == ["release", ""]


def test_fields_that_a_newer_release_added_are_passed_over(spec: TrackSpec) -> None:
    more = orjson.dumps({**orjson.loads(encode(event(EventKind.SERVED, 100))), "later": 1})
    assert spec.tracker(Told.EVENTS).take(batch(more)) == []
    assert len(ModelRegistry(spec.registry).events()) == 1


def test_a_registry_that_is_away_for_a_moment_is_waited_for(
    spec: TrackSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, add, asked = spec.tracker(Told.EVENTS), ModelRegistry.add_events, []

    def away(self: ModelRegistry, *arguments: Any) -> int:
        asked.append(arguments)
        if len(asked) < 3:
            raise StoreError("the registry cannot be used")
        return add(self, *arguments)

    monkeypatch.setattr(ModelRegistry, "add_events", away)
    assert tracker.take(batch(encode(event(EventKind.SERVED, 100)))) == []
    assert len(asked) == 3 and len(ModelRegistry(spec.registry).events()) == 1


def test_one_that_stays_away_fails_the_job(tmp_path: Path) -> None:
    (tmp_path / "r.db").mkdir()
    spec = TrackSpec(f"sqlite:///{tmp_path}/r.db", StoreSpec(), "", 0.0)
    with pytest.raises(StoreError, match="cannot be used"):
        Tracker(spec, Told.EVENTS).take(batch(encode(event(EventKind.SERVED, 100))))
