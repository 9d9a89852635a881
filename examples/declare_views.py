"""Features of shop customers, declared: `python examples/declare_views.py` says what they are.

A job computes them: `flink run -py jobs/features.py --declarations examples/declare_views.py ...`.
"""

from __future__ import annotations

from pathlib import Path

from millrace.views import (
    Aggregate,
    Column,
    Count,
    Expression,
    FeatureType,
    FeatureView,
    Mean,
    Source,
    Trailing,
    feature_types,
    load_declarations,
)

HOUR = Trailing(span="1 h", tile="1 min")

SOURCES = (
    Source(
        name="orders",
        topic="orders",
        columns=(
            Column(name="id", type=FeatureType.STRING),
            Column(name="customer", type=FeatureType.STRING),
            Column(name="at", type=FeatureType.TIMESTAMP),
            Column(name="amount", type=FeatureType.FLOAT64, nullable=True),
        ),
        event_time="at",
        event_id="id",
    ),
)

VIEWS = (
    FeatureView(
        name="customer_orders",
        version=1,
        entity=("customer",),
        source="orders",
        steps=(Expression(name="is_large", sql="amount > 100", type=FeatureType.BOOL),),
        features=(
            Aggregate(name="orders_1h", of=Count(), window=HOUR),
            Aggregate(name="large_1h", of=Count(), where="is_large", window=HOUR),
            Aggregate(name="mean_amount_1h", of=Mean(column="amount"), window=HOUR),
        ),
        ttl="1 d",
        owner="shop",
        description="What a customer ordered within the hour.",
    ),
)


def main() -> None:
    declared = load_declarations(Path(__file__))
    for view in declared.views:
        print(f"{view.id}, by {', '.join(view.entity)}")
        for name, kind in feature_types(view, declared).items():
            print(f"  {name}: {kind.value}")


if __name__ == "__main__":
    main()
