"""Declarations that tests of the registry, of training sets and of assembly share: houses and districts."""

from __future__ import annotations

from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Declarations,
    FeatureType,
    FeatureView,
    Mean,
    Source,
    Trailing,
    Value,
)
from udfs.stores.registry.base import FeatureRef, ModelInputs, OnDemand

SALES = Source(
    name="sales",
    event_time="at",
    columns=(
        Column(name="house", type=FeatureType.STRING),
        Column(name="district", type=FeatureType.INT64),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="price", type=FeatureType.FLOAT64),
    ),
)
MONTH = Trailing(span="30 d", tile="1 h")
DISTRICTS = FeatureView(
    name="districts",
    version=1,
    entity=("district",),
    source="sales",
    features=(
        Aggregate(name="sold", of=Count(), window=MONTH),
        Aggregate(name="mean_price", of=Mean(column="price"), window=MONTH, description="Of the month."),
    ),
    ttl="10 d",
    owner="prices",
    description="Sales of a district.",
)
HOUSES = FeatureView(
    name="houses",
    version=1,
    entity=("house",),
    source="sales",
    features=(Value(name="price"),),
    ttl="1 h",
    owner="houses",
    description="A house's last price.",
)
ALARM = FeatureView(
    name="alarm",
    version=2,
    entity=("district",),
    source="districts_v1",
    features=(Value(name="latest", column="mean_price"),),
    ttl="1 d",
    owner="prices",
    description="The latest mean.",
)
DECLARED = Declarations(sources=(SALES,), views=(ALARM, DISTRICTS, HOUSES))
INPUTS = ModelInputs(
    model="estimate",
    version=0,
    data_type="estimate",
    inputs=(
        ("mean", FeatureRef("districts_v1", "mean_price")),
        ("last", FeatureRef("houses_v1", "price")),
    ),
)
CREATOR = OnDemand("houses_v1", "http://127.0.0.1:1/houses", (("price", "house.prices[-1].amount"),))
