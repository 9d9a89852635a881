"""The programs in `examples/` do what they say, and `millrace.*` has what they and its lists promise."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest
from example_runs import EXAMPLES, run_example

import millrace
from examples import custom_aggregation
from schemas.features.declarations import (
    Aggregate,
    Column,
    Custom,
    Declarations,
    FeatureType,
    FeatureView,
    Source,
    Trailing,
)
from schemas.results.records import Outcome
from schemas.results.results import Identity, Stamp, write_results
from udfs.features.base import FixedAggregation
from udfs.features.functions import resolve

PUBLIC = [name for name in millrace.__all__ if name != "__version__"]


def test_declared_views_are_listed_with_their_types() -> None:
    assert run_example("declare_views.py") == [
        "customer_orders_v1, by customer",
        "  orders_1h: int64",
        "  large_1h: int64",
        "  mean_amount_1h: float64",
    ]


def test_an_experiment_says_whom_it_would_treat() -> None:
    assert run_example("declare_experiment.py") == [
        "step 1: 1% of the customers, 111 of 10000",
        "step 2: 5% of the customers, 488 of 10000",
        "step 3: 25% of the customers, 2473 of 10000",
        "step 4: 50% of the customers, 5038 of 10000",
    ]


def test_an_aggregation_of_ones_own_is_the_same_however_windows_are_cut() -> None:
    whole, cut, empty = run_example("custom_aggregation.py")
    assert float(whole) == float(cut) == pytest.approx(4.0)
    assert empty == "None"


def test_the_aggregation_fits_into_a_view() -> None:
    name = f"{custom_aggregation.__name__}:GeometricMean"
    made = resolve(name)()
    assert isinstance(made, FixedAggregation)
    custom = Custom(aggregation=name, columns=("factor",), type=FeatureType.FLOAT64)
    view = FeatureView(
        name="growth",
        version=1,
        entity=("fund",),
        source="quotes",
        features=(Aggregate(name="growth", of=custom, window=Trailing(span="1 d")),),
        ttl="2 d",
        owner="funds",
        description="Of a day.",
    )
    columns = (
        Column(name="fund", type=FeatureType.STRING),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="factor", type=FeatureType.FLOAT64),
    )
    declared = Declarations(sources=(Source(name="quotes", columns=columns, event_time="at"),), views=(view,))
    views = importlib.import_module("millrace.views")
    views.check(declared)
    assert views.feature_types(view, declared) == {"growth": FeatureType.FLOAT64}


def test_records_are_good_or_bad_with_a_reason() -> None:
    good, *bad = run_example("read_records.py")
    assert good == "2 good records: [[1.5, 2.0], [0.25, 4.0]]"
    assert [line.split(":")[0] for line in bad] == [
        "record 1 is bad (missing_field)",
        "record 2 is bad (wrong_type)",
        "record 3 is bad (unparsable)",
    ]


def test_results_are_counted_by_model(tmp_path: Path) -> None:
    identity = Identity("records", [0, 0], [0, 1], [1000, 2000])
    records = [b'{"a":1}', b'{"a":2}']
    lines = write_results(records, Stamp("houses", "price", 3, "ab" * 32, Outcome.SCORED, 0.5), identity, {})
    unscored = Stamp("houses", "", 0, "", Outcome.NO_MODEL, 0.0, reason="none yet")
    lines = [*lines, *write_results(records[:1], unscored, Identity("records", [0], [2], [3000]), {})]
    (tmp_path / "part-0").write_bytes(b"\n".join(lines) + b"\n")
    assert run_example("read_results.py", tmp_path) == ["2 price version 3", "1 no_model: none yet"]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_module_has_what_its_list_promises_and_says_what_it_is(name: str) -> None:
    module = importlib.import_module(f"millrace.{name}")
    assert module.__doc__
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for promised in module.__all__:
        one = getattr(module, promised)
        if isinstance(one, type) or callable(one):
            assert one.__doc__, f"millrace.{name}.{promised} has no docstring"


def test_programs_import_nothing_of_ours_but_what_is_public() -> None:
    known = {f"millrace.{name}" for name in PUBLIC}
    programs = sorted(EXAMPLES.glob("[a-z]*.py"))
    assert len(programs) == 6
    for program in programs:
        for node in ast.walk(ast.parse(program.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                ours = node.module.split(".")[0] in ("millrace", "schemas", "udfs", "operators", "jobs")
                assert not ours or node.module in known, f"{program.name} imports {node.module}"


def test_the_public_modules_are_there() -> None:
    assert set(PUBLIC) <= {module.name for module in pkgutil.iter_modules(millrace.__path__)}
    assert millrace.__version__.count(".") == 2
