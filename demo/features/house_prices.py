"""House prices: what a district's sales of the last two weeks say, and what is known of each house.

`scripts/demo features` runs on these. The two weeks move in tiles of a day, so they may count sales up to a
day too old.
"""

from __future__ import annotations

from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Custom,
    FeatureType,
    FeatureView,
    Function,
    Mean,
    Source,
    Trailing,
    Value,
)

_TWO_WEEKS = Trailing(span="14 d", tile="1 d")
_STEPS = "demo.features.house_steps"

SOURCES = (
    Source(
        name="sales",
        columns=(
            Column(name="sale", type=FeatureType.STRING),
            Column(name="district", type=FeatureType.STRING),
            Column(name="at", type=FeatureType.TIMESTAMP),
            Column(name="area", type=FeatureType.FLOAT64),
            Column(name="price", type=FeatureType.FLOAT64),
        ),
        event_time="at",
        event_id="sale",
        out_of_orderness="1 h",
    ),
    Source(
        name="listings",
        columns=(
            Column(name="house", type=FeatureType.STRING),
            Column(name="at", type=FeatureType.TIMESTAMP),
            Column(name="area", type=FeatureType.FLOAT64),
            Column(name="rooms", type=FeatureType.FLOAT64),
            Column(name="age", type=FeatureType.FLOAT64),
            Column(name="garden", type=FeatureType.FLOAT64),
        ),
        event_time="at",
        event_id="house",
        out_of_orderness="1 h",
    ),
)

VIEWS = (
    FeatureView(
        name="district_prices",
        version=1,
        entity=("district",),
        source="sales",
        steps=(
            Function(
                name="price_m2",
                function=f"{_STEPS}:per_square_metre",
                inputs=("price", "area"),
                type=FeatureType.FLOAT64,
            ),
            Function(name="day", function=f"{_STEPS}:day", inputs=("at",), type=FeatureType.FLOAT64),
        ),
        features=(
            Aggregate(name="sold_14d", of=Count(), window=_TWO_WEEKS),
            Aggregate(name="mean_m2_14d", of=Mean(column="price_m2"), window=_TWO_WEEKS),
            Aggregate(
                name="trend_14d",
                of=Custom(
                    aggregation="udfs.features.regression:Slope",
                    columns=("day", "price_m2"),
                    type=FeatureType.FLOAT64,
                ),
                window=_TWO_WEEKS,
                description="By how much a square metre gets dearer in a day.",
            ),
        ),
        ttl="60 d",
        owner="valuation",
        description="Sales of a district in the trailing two weeks.",
    ),
    FeatureView(
        name="houses",
        version=1,
        entity=("house",),
        source="listings",
        features=(Value(name="area"), Value(name="rooms"), Value(name="age"), Value(name="garden")),
        ttl="365 d",
        owner="valuation",
        description="A house as it was listed last.",
    ),
)
