"""Accounts whose signal errors in the trailing 24 hours exceed 2,000: a row when they begin to, and when they
no longer do. The day moves in tiles of five minutes, so it may count errors up to five minutes too old.
"""

from __future__ import annotations

from pathlib import Path

from schemas.codecs.factory import CodecSpec
from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    FeatureType,
    FeatureView,
    Mean,
    OnThreshold,
    Source,
    Trailing,
)

_DAY = Trailing(span="24 h", tile="5 min")

SOURCES = (
    Source(
        name="signal_errors",
        topic="signal-errors",
        codec=CodecSpec(kind="avro", schema=str(Path(__file__).with_name("signal_error.avsc"))),
        columns=(
            Column(name="event", type=FeatureType.STRING),
            Column(name="account", type=FeatureType.STRING),
            Column(name="at", type=FeatureType.TIMESTAMP),
            Column(name="signal", type=FeatureType.FLOAT64, nullable=True),
        ),
        event_time="at",
        event_id="event",
        out_of_orderness="30 s",
    ),
)

VIEWS = (
    FeatureView(
        name="account_signal_errors",
        version=1,
        entity=("account",),
        source="signal_errors",
        features=(
            Aggregate(name="errors_24h", of=Count(), window=_DAY, description="Errors of the last day."),
            Aggregate(name="mean_signal_24h", of=Mean(column="signal"), window=_DAY),
        ),
        emit=OnThreshold(feature="errors_24h", limit=2000),
        ttl="2 d",
        owner="network",
        description="Accounts with more than 2,000 signal errors in the trailing 24 hours.",
    ),
)
