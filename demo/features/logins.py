"""Logins by network: which network an address is in comes from a reference that changes.

A join needs equal keys, an address is in a range: so the reference is keyed by bucket, and its row lists the
ranges of that bucket. `udfs.features.ip_ranges` has both functions and says how ranges are written.
"""

from __future__ import annotations

from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Distinct,
    Enrichment,
    Expression,
    FeatureType,
    FeatureView,
    Function,
    LastN,
    Reference,
    Source,
    Trailing,
    Value,
)

_DAY = Trailing(span="24 h", tile="5 min")

SOURCES = (
    Source(
        name="logins",
        topic="logins",
        columns=(
            Column(name="id", type=FeatureType.STRING),
            Column(name="account", type=FeatureType.STRING),
            Column(name="at", type=FeatureType.TIMESTAMP),
            Column(name="address", type=FeatureType.STRING, nullable=True),
        ),
        event_time="at",
        event_id="id",
    ),
)

REFERENCES = (
    Reference(
        name="networks",
        topic="networks",
        columns=(
            Column(name="bucket", type=FeatureType.STRING),
            Column(name="since", type=FeatureType.TIMESTAMP),
            Column(name="ranges", type=FeatureType.STRING, nullable=True),
            Column(name="gone", type=FeatureType.BOOL, nullable=True),
        ),
        key="bucket",
        event_time="since",
        deleted="gone",
    ),
)

VIEWS = (
    FeatureView(
        name="account_logins",
        version=1,
        entity=("account",),
        source="logins",
        steps=(
            Function(
                name="bucket",
                function="udfs.features.ip_ranges:bucket",
                inputs=("address",),
                type=FeatureType.STRING,
                over="arrow",
            ),
            Enrichment(reference="networks", on="bucket", columns={"ranges": "ranges"}),
            Function(
                name="network",
                function="udfs.features.ip_ranges:label",
                inputs=("address", "ranges"),
                type=FeatureType.STRING,
                over="arrow",
            ),
            Expression(name="is_unknown", sql="network IS NULL", type=FeatureType.BOOL),
        ),
        features=(
            Value(name="network", description="Where the account logged in from."),
            Aggregate(name="networks_24h", of=Distinct(column="network"), window=_DAY),
            Aggregate(name="unknown_24h", of=Count(), where="is_unknown", window=_DAY),
            Aggregate(name="last_networks", of=LastN(column="network", n=3), window=_DAY),
        ),
        ttl="2 d",
        owner="security",
        description="The networks that an account logs in from.",
    ),
)
