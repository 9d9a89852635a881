"""The shipped examples and what loads them: signal errors, IP ranges, declarations in files."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import FeatureError
from schemas.features.declarations import Declarations, FeatureType, FeatureView, Function, write_declarations
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME, marked_reference
from udfs.features.base import END, no_state
from udfs.features.engine import ViewEngine
from udfs.features.expressions import Expressions
from udfs.features.functions import FunctionCall, resolve
from udfs.features.ip_ranges import bucket, label
from udfs.features.loading import load_declarations
from udfs.features.steps import Steps, steps_before

SHIPPED = Path(__file__).resolve().parents[2] / "demo" / "features" / "signal_errors.py"
LOGINS = SHIPPED.with_name("logins.py")
HOUR = 3_600_000


def signal_errors(account: str, times: np.ndarray) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({
        "account": [account] * len(times),
        "signal": np.linspace(-90, -60, len(times)),
        EVENT_TIME: times,
        EVENT_ID: [f"{account}/{i}" for i in range(len(times))],
    })  # fmt: skip


def test_an_account_is_reported_when_its_errors_of_a_day_exceed_two_thousand_and_when_no_longer() -> None:
    declared = load_declarations(SHIPPED)
    (view,) = declared.views
    engine = ViewEngine(view, declared, no_state)
    start = 20_000 * 24 * HOUR
    busy = start + np.arange(2_500) * 10_000  # the 2,001st at 20,000 s; the last one at 24,990 s
    engine.add(signal_errors("busy", busy))
    engine.add(signal_errors("quiet", start + np.arange(2_000) * 10_000))
    (up,) = engine.advance(start + 12 * HOUR, 7).batches
    assert up.final
    assert [(r["account"], r["errors_24h"], r["event_timestamp"] - start) for r in up.rows.to_pylist()] == [
        ("busy", 2001, 20_000_000)
    ]
    # Thirty errors leave with a tile. Seventeen tiles leave 1,990, sixteen 2,020.
    assert engine.next_time() is not None
    (down,) = engine.advance(END, 7).batches
    (row,) = down.rows.to_pylist()
    assert (row["account"], row["errors_24h"]) == ("busy", 1990)
    assert row["event_timestamp"] - start == 24 * HOUR + 17 * 300_000


def test_the_shipped_source_reads_the_avro_that_its_schema_writes() -> None:
    (source,) = load_declarations(SHIPPED).sources
    schema = fastavro.schema.load_schema(source.codec.schema)
    assert source.codec.kind == "avro"
    assert [f["name"] for f in schema["fields"]] == [c.name for c in source.columns]


def test_declarations_are_the_same_from_python_and_toml(tmp_path: Path) -> None:
    text = """
        [[sources]]
        name = "clicks"
        event_time = "at"
        columns = [{name = "user", type = "int64"}, {name = "at", type = "timestamp"}]
        [[views]]
        name = "user_clicks"
        version = 2
        entity = ["user"]
        source = "clicks"
        ttl = "1 d"
        owner = "o"
        description = "d"
        [[views.features]]
        feature = "aggregate"
        name = "n"
        of = {function = "count"}
        window = {window = "trailing", span = "1 h"}
    """
    (tmp_path / "a.toml").write_text(text)
    (tmp_path / "b.py").write_text(
        "import tomllib\nfrom schemas.features.declarations import read_declarations\n"
        f"DECLARATIONS = read_declarations(tomllib.loads({text!r}))\n"
    )
    a, b = load_declarations(tmp_path / "a.toml"), load_declarations(tmp_path / "b.py")
    assert a == b
    assert a.views[0].id == "user_clicks_v2"
    assert not list(tmp_path.glob("__pycache__"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "views = 3", "a.toml: not feature declarations"),
        ("a.toml", "[[", "a.toml: "),
        ("a.py", "x = 1\ny = x / 0\n", "a.py: line 2: ZeroDivisionError"),
        ("a.py", "def\n", "a.py: line 1: SyntaxError"),
        ("a.py", "x = 1", "neither DECLARATIONS nor VIEWS"),
        ("a.py", "VIEWS = (1,)", "VIEWS holds int"),
        ("a.json", "{}", "in a .toml or a .py file"),
    ],
)
def test_a_file_that_holds_no_declarations_says_why(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FeatureError, match=said):
        load_declarations(tmp_path / name)


def test_declarations_that_contradict_themselves_are_refused_with_the_file(tmp_path: Path) -> None:
    (view,) = load_declarations(SHIPPED).views
    (tmp_path / "alone.py").write_text(
        "import tomllib, msgspec\nfrom schemas.features.declarations import Declarations\n"
        f"DECLARATIONS = msgspec.json.decode({write_declarations(Declarations(views=(view,)))!r}, "
        "type=Declarations)\n"
    )
    with pytest.raises(FeatureError, match=r"alone\.py: .*there is no source and no view 'signal_errors'"):
        load_declarations(tmp_path / "alone.py")


def test_an_address_finds_its_range() -> None:
    addresses = pa.array(
        ["10.1.2.3", "10.1.255.255", "10.1.3.0", "2001:db8::5", "nonsense", None, "10.1.0.1"]
    )
    assert bucket(addresses).to_pylist() == [
        "4/10.1", "4/10.1", "4/10.1", "6/2001:0db8", None, None, "4/10.1",
    ]  # fmt: skip
    v4 = "10.1.2.0-10.1.2.255=lab;10.1.0.0-10.1.2.255=office;10.1.255.255=edge;broken"
    ranges = pa.array([v4, v4, v4, "2001:db8::-2001:db8::ffff=six", v4, v4, v4])
    assert label(addresses, ranges).to_pylist() == ["lab", "edge", None, "six", None, None, "office"]


def test_the_shipped_logins_know_the_network_of_an_address_at_their_time() -> None:
    declared = load_declarations(LOGINS)
    (view,) = declared.views
    networks = marked_reference(
        pa.RecordBatch.from_pydict(
            {
                "bucket": ["4/10.1", "4/10.1", "4/10.1", "4/10.2"],
                "ranges": ["10.1.0.0-10.1.0.255=office", "10.1.0.0-10.1.9.255=lab", None, "10.2.0.9=home"],
                "gone": [None, False, True, None],
                EVENT_TIME: [100, 200, 300, 0],
                EVENT_ID: ["a", "b", "c", "d"],
            }
        ),
        "networks",
    )
    sent = [
        (50, "10.1.0.7"),
        (150, "10.1.0.7"),
        (250, "10.1.5.7"),
        (350, "10.1.0.7"),
        (400, "10.2.0.9"),
        (500, None),
    ]
    events = pa.RecordBatch.from_pydict(
        {
            "account": ["a"] * len(sent),
            "address": [address for _, address in sent],
            EVENT_TIME: [at for at, _ in sent],
            EVENT_ID: [str(at) for at, _ in sent],
        }
    )
    with closing(Expressions()) as expressions:
        engine = ViewEngine(view, declared, no_state, expressions)
        engine.add(steps_before(view, declared, expressions).apply(events))
        engine.add(networks)
        (made,) = engine.advance(END, 7).batches
    rows = made.rows.to_pylist()
    assert [r["network"] for r in rows] == [None, "office", "lab", None, "home", None]
    assert [r["unknown_24h"] for r in rows] == [1, 1, 1, 2, 2, 3]
    assert rows[-1]["last_networks"] == ["office", "lab", "home"] and rows[-1]["networks_24h"] == 3


def _steps(*steps: Function) -> Steps:
    declared = load_declarations(SHIPPED)
    (view,) = declared.views
    changed = FeatureView(**{f: getattr(view, f) for f in view.__struct_fields__} | {"steps": steps})
    return steps_before(changed, Declarations(sources=declared.sources, views=(changed,)), Expressions())


def test_steps_add_columns_in_order_over_arrow_and_pandas() -> None:
    steps = _steps(
        Function(name="low", function="operator:neg", inputs=("signal",), type=FeatureType.FLOAT64),
        Function(
            name="both", function="pyarrow.compute:add", inputs=("low", "signal"), type=FeatureType.FLOAT64,
            over="arrow",
        ),
    )  # fmt: skip
    found = steps.apply(signal_errors("a", np.arange(3)))
    assert found.column("low").to_pylist() == [90.0, 75.0, 60.0]
    assert found.column("both").to_pylist() == [0.0, 0.0, 0.0]


def test_integers_beside_nulls_keep_all_their_digits_over_pandas() -> None:
    beyond = 2**53 + 1
    declared = Function(name="less", function="operator:neg", inputs=("n",), type=FeatureType.INT64)
    found = FunctionCall(declared)(pa.RecordBatch.from_pydict({"n": [beyond, None, -beyond]}))
    assert found.to_pylist() == [-beyond, None, beyond]


def test_a_step_that_fails_or_gives_too_few_values_is_named() -> None:
    few = _steps(Function(name="u", function="pyarrow.compute:unique", inputs=("account",),
                          type=FeatureType.STRING, over="arrow"))  # fmt: skip
    with pytest.raises(FeatureError, match="gave 1 values of 'u' for 3 rows"):
        few.apply(signal_errors("a", np.arange(3)))
    bad = _steps(Function(name="u", function="math:sqrt", inputs=("account",), type=FeatureType.FLOAT64))
    with pytest.raises(FeatureError, match="math:sqrt failed for 'u'"):
        bad.apply(signal_errors("a", np.arange(3)))
    with pytest.raises(FeatureError, match="cannot be had: ModuleNotFoundError"):
        resolve("no_such_module:f")
