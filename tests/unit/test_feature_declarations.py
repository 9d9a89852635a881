"""Declarations of features: read back from their wire form, and refused where they contradict themselves."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import orjson
import pyarrow as pa
import pytest

from schemas.errors import FeatureError
from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Declarations,
    FeatureType,
    FeatureView,
    Mean,
    OnThreshold,
    Session,
    Source,
    Trailing,
    Value,
    duration_ms,
    read_declarations,
    write_declarations,
)
from schemas.features.feature_batch import ARROW, from_bytes, to_bytes
from schemas.features.rules import check, event_types, feature_types, order

ERRORS = Source(
    name="signals",
    event_time="at",
    event_id="id",
    columns=(
        Column(name="id", type=FeatureType.STRING),
        Column(name="account", type=FeatureType.STRING),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="signal", type=FeatureType.FLOAT64, nullable=True),
    ),
)
DAY = Trailing(span="24 h", tile="5 min")
VIEW = FeatureView(
    name="signal_errors",
    version=1,
    entity=("account",),
    source="signals",
    features=(
        Aggregate(name="errors", of=Count(), window=DAY),
        Aggregate(name="mean_signal", of=Mean(column="signal"), window=DAY),
    ),
    emit=OnThreshold(feature="errors", limit=2000),
    ttl="2 d",
    owner="network",
    description="Signal errors of the last 24 hours.",
)
DECLARED = Declarations(sources=(ERRORS,), views=(VIEW,))


def with_view(**changes: Any) -> Declarations:
    return Declarations(sources=(ERRORS,), views=(msgspec.structs.replace(VIEW, **changes),))


def test_declarations_come_back_from_json() -> None:
    check(DECLARED)
    assert read_declarations(orjson.loads(write_declarations(DECLARED))) == DECLARED


def test_toml_says_the_same() -> None:
    text = """
        name = "signal_errors"
        version = 1
        entity = ["account"]
        source = "signals"
        ttl = "2 d"
        owner = "network"
        description = "Signal errors of the last 24 hours."
        emit = { emit = "threshold", feature = "errors", limit = 2000.0 }
        [[features]]
        feature = "aggregate"
        name = "errors"
        of = { function = "count" }
        window = { window = "trailing", span = "24 h", tile = "5 min" }
        [[features]]
        feature = "aggregate"
        name = "mean_signal"
        of = { function = "mean", column = "signal" }
        window = { window = "trailing", span = "24 h", tile = "5 min" }
        """
    assert read_declarations({"views": [tomllib.loads(text)]}).views == (VIEW,)


def test_types_follow_from_columns() -> None:
    assert feature_types(VIEW, DECLARED) == {"errors": FeatureType.INT64, "mean_signal": FeatureType.FLOAT64}


def test_a_view_reads_the_features_of_another() -> None:
    second = FeatureView(
        name="alarm",
        version=1,
        entity=("account",),
        source="signal_errors_v1",
        features=(Value(name="latest", column="errors"),),
        ttl="1 d",
        owner="network",
        description="d",
    )
    declared = Declarations(sources=(ERRORS,), views=(second, VIEW))
    check(declared)
    assert [v.id for v in order(declared)] == ["signal_errors_v1", "alarm_v1"]
    assert event_types(second, declared)["event_timestamp"] is FeatureType.TIMESTAMP


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "Signal"}, "lower case"),
        ({"owner": ""}, "must not be empty"),
        ({"entity": ("signal",)}, "an entity key is a string"),
        ({"entity": ("nobody",)}, "there is no 'nobody'"),
        ({"source": "nowhere"}, "no source and no view 'nowhere'"),
        ({"source": "signal_errors_v1"}, "in a circle"),
        ({"ttl": "a day"}, "no duration"),
        ({"ttl": "10 ms"}, "less than a second"),
        ({"emit": OnThreshold(feature="nothing", limit=1)}, "no aggregate with a number"),
        ({"features": (Aggregate(name="a", of=Mean(column="id"), window=DAY),)}, "needs a number"),
        ({"features": (Aggregate(name="a", of=Count(), where="signal", window=DAY),)}, "must be a bool"),
        ({"features": (Aggregate(name="event_timestamp", of=Count(), window=DAY),)}, "cannot be the name"),
        ({"features": (Aggregate(name="a", of=Count(), window=Session(gap="5 s")),)}, "need emit window_end"),
        (
            {"features": (Aggregate(name="a", of=Count(), window=Trailing(span="7 min", tile="5 min")),)},
            "whole parts",
        ),
        ({"features": (*VIEW.features, VIEW.features[0])}, "two of feature"),
    ],
)
def test_a_contradiction_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(FeatureError, match=says):
        check(with_view(**changes))


def test_what_is_no_declaration_is_refused_with_its_place() -> None:
    with pytest.raises(FeatureError, match=r"views\[0\]"):
        read_declarations({"views": [{"name": "a", "unheard_of": 1}]})


@pytest.mark.parametrize(("text", "ms"), [("250 ms", 250), ("5min", 300_000), ("30 d", 2_592_000_000)])
def test_durations(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


def test_a_batch_of_every_type_comes_back_with_its_nulls() -> None:
    batch = pa.record_batch([pa.array([None], kind) for kind in ARROW.values()], names=[*ARROW])
    assert from_bytes(to_bytes(batch)).equals(batch)


def test_bytes_of_several_batches_are_refused() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("a", pa.int64())])):
        pass
    with pytest.raises(ValueError, match="0 batches"):
        from_bytes(sink.getvalue().to_pybytes())
