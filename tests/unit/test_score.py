"""`millrace score`: files of records to files of scores, row by row what a job gives."""

from __future__ import annotations

import csv
import datetime
import json
import math
import sys
import time
import tracemalloc
import types
from decimal import Decimal

import fastavro
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from millrace.cli import app
from millrace.files.avro_records import AvroRecords
from millrace.files.csv_records import CsvRecords
from millrace.files.json_records import JsonLines
from millrace.files.parquet_records import ParquetRecords
from schemas.codecs.field_reading import FieldReading
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import PredictError, SourceError
from schemas.results.records import Outcome
from schemas.results.results import read_result
from schemas.tensors import DType, Input, Output
from tests.serving_fakes import batch_of, loaded_model
from udfs.models import content, loading
from udfs.serving.scoring import score

PMML = b'<?xml version="1.0"?><PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"/>'


class Sum:
    """y = a + b, the pair of them as float32, and a label; 13 cannot be scored."""

    inputs = (
        Input("a", DType.FLOAT64, (), ("a",)),
        Input("b", DType.INT64, (), ("b",)),
        Input("t", DType.TEXT, (), ("t",)),
        Input("f", DType.BOOL, (), ("f",)),
    )
    outputs = (
        Output("y", DType.FLOAT64),
        Output("pair", DType.FLOAT32, (2,)),
        Output("label", DType.TEXT),
        Output("n", DType.INT64),
    )

    def __init__(self, wanted=None):
        pass

    def predict(self, columns):
        a, b = columns["a"], columns["b"]
        if (a == 13).any():
            raise PredictError("it cannot score 13")
        pair = np.stack([a, b], axis=1).astype("f4")
        label = np.array([f"{t}{f}" for t, f in zip(columns["t"], columns["f"], strict=True)], dtype=object)
        return {"y": a + b, "pair": pair, "label": label, "n": b}

    def close(self):
        pass


@pytest.fixture
def model(tmp_path, monkeypatch):
    module = types.ModuleType("millrace_fake_sum")
    module.load = lambda artifact, wanted: Sum(wanted)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(content, "RUNTIMES", dict.fromkeys(content.RUNTIMES, module.__name__))
    path = tmp_path / "m.pmml"
    path.write_bytes(PMML)
    return path


@pytest.fixture
def run(model, tmp_path):
    def invoke(records, to="out.jsonl", *more):
        arguments = ["score", model, "--records", records, "--to", tmp_path / to, *more]
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return invoke


RECORDS = [
    {"a": 1.5, "b": 2, "t": "x", "f": True, "other": [1]},
    {"a": 2.0, "b": 3, "t": "é,\"'\n", "f": False},
    {"b": 3, "t": "x", "f": True},
    {"a": 13.0, "b": 3, "t": "x", "f": True},
    {"a": 4.0, "b": 5, "t": "x", "f": True},
]


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_json_lines_give_row_by_row_what_a_job_gives(run, tmp_path):
    """Good, refused and failing records, a payload that is none, and batches smaller than the file."""
    payloads = [orjson.dumps(r) for r in RECORDS] + [b"no", b"[1]", b'{"a":1,"b":2.5,"t":"","f":true}']
    payloads *= 3
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(payloads))
    done = run(tmp_path / "r.jsonl", "out.jsonl", "--max-batch", 4)
    assert done.exit_code == 0, done.output
    job = score(batch_of(payloads), loaded_model(Sum()), JsonCodec(), True)
    expected: dict[int, dict] = {
        d.offset: {"outcome": "refused", "code": d.code, "reason": d.reason} for d in job.dead
    }
    for line in job.lines:
        result = read_result(line)
        if result.outcome is Outcome.SCORED:
            expected[result.offset] = {**result.scores, "outcome": "scored"}
        else:
            expected[result.offset] = {"outcome": "failed", "reason": result.reason}
    assert rows_of(tmp_path / "out.jsonl") == [expected[k] for k in range(len(payloads))]
    assert "Scored 9 of 24 records" in done.output
    assert "Failed in the model: 3" in done.output
    assert "missing_field 3" in done.output and "unparsable 3" in done.output


def write_csv(path, records, delimiter=","):
    names = ["a", "b", "t", "f", "other"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter, restval="")
        writer.writeheader()
        writer.writerows(
            {n: json.dumps(v) if isinstance(v, bool | list) else v for n, v in r.items()} for r in records
        )


def write_parquet(path, records):
    columns = {n: [r.get(n) for r in records] for n in ("a", "b", "t", "f")}
    pq.write_table(pa.table(columns), path, row_group_size=2)


def write_avro(path, records):
    fields = [
        {"name": n, "type": ["null", t]}
        for n, t in (("a", "double"), ("b", "long"), ("t", "string"), ("f", "boolean"))
    ]
    schema = {"type": "record", "name": "R", "fields": fields}
    with path.open("wb") as file:
        fastavro.writer(file, schema, records, codec="deflate", sync_interval=50)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "avro"])
@pytest.mark.parametrize("to", ["out.csv", "out.jsonl", "out.parquet"])
def test_every_format_gives_the_same_scores(run, tmp_path, ending, to):
    records = RECORDS * 2
    path = tmp_path / f"r.{ending}"
    if ending in ("csv", "tsv"):
        write_csv(path, records, "\t" if ending == "tsv" else ",")
    else:
        {"parquet": write_parquet, "avro": write_avro}[ending](path, records)
    done = run(path, to, "--max-batch", 3)
    assert done.exit_code == 0, done.output
    if to.endswith("csv"):
        with (tmp_path / to).open(newline="", encoding="utf-8") as file:
            rows = [
                {
                    n: v if n in ("label", "outcome", "code", "reason") else json.loads(v)
                    for n, v in r.items()
                    if v
                }
                for r in csv.DictReader(file)
            ]
    elif to.endswith("jsonl"):
        rows = rows_of(tmp_path / to)
    else:
        table = pq.read_table(tmp_path / to)
        assert table.schema.field("pair").type == pa.list_(pa.float32())
        rows = [{n: v for n, v in r.items() if v is not None} for r in table.to_pylist()]
    assert len(rows) == len(records)
    for record, row in zip(records, rows, strict=True):
        if "a" not in record:
            assert row.pop("reason") and row.pop("code") in ("missing_field", "null")
            assert row == {"outcome": "refused"}
        elif record["a"] == 13:
            assert row == {"outcome": "failed", "reason": "it cannot score 13"}
        else:
            a, b = record["a"], record["b"]
            label = f"{record['t']}{record['f']}"
            assert row == {"y": a + b, "pair": [a, b], "label": label, "n": b, "outcome": "scored"}


def test_nothing_is_left_where_the_file_is_damaged(run, tmp_path):
    write_avro(tmp_path / "r.avro", RECORDS)
    (tmp_path / "r.avro").write_bytes((tmp_path / "r.avro").read_bytes()[:-30])
    before = sorted(tmp_path.iterdir())
    done = run(tmp_path / "r.avro")
    assert done.exit_code == 1 and "damaged" in done.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.txt", b"a\n1\n", "does not tell a format; give --format csv, jsonl, parquet or avro"),
        ("r.jsonl", b' [{"a":1}]', "is a JSON array: give one object a line"),
        ("r.csv", b"", "is empty: its first line names the fields"),
        ("r.csv", b"1,2\n3,4\n", "has none of the fields that the model reads (a, b, t, f)"),
        ("r.csv", b"a,b,a\n1,2,3\n", "names 'a' twice"),
        ("r.csv", b"a,b\n1,\xff\n", "is not UTF-8"),
        ("r.csv", b'a,b\n1,"' + b"x" * 3000 + b"\n" + b"x" * 2000, "begins in line 2 has a cell of"),
        ("r.parquet", b"PAR1 or not", "as Parquet"),
        ("r.avro", b"Obj\x01 or not", "as an Avro container file"),
    ],
)
def test_what_is_no_file_of_records_is_said_in_one_sentence(run, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    done = run(tmp_path / name, "out.jsonl", "--max-bytes", 4000)
    assert done.exit_code == 1
    assert said in done.stderr and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


def test_wrong_options_are_told_before_the_model_is_loaded(run, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"a":1}\n')
    assert "does not tell a format; give --to-format" in run(path, "out.xls").stderr
    assert "'avro' is no format" in run(path, "out.avro", "--to-format", "avro").stderr
    assert "would replace the records" in run(path, "r.jsonl").stderr
    assert path.read_bytes() == b'{"a":1}\n'


def test_an_output_with_the_name_of_a_column_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Sum, "outputs", (*Sum.outputs, Output("reason", DType.FLOAT64)))
    whole = Sum.predict
    monkeypatch.setattr(Sum, "predict", lambda s, c: {**whole(s, c), "reason": c["a"]})
    (tmp_path / "r.jsonl").write_bytes(b'{"a":1}\n')
    assert "--output reason=ALIAS" in run(tmp_path / "r.jsonl").stderr


def batches_of(file, size=100):
    return [(list(b.payloads), b.unreadable) for b in file.batches(size)]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1", b"1"), ("-0.5e3", b"-0.5e3"), ("+5", b"5"), (" 7 ", b"7"), (".5", b"0.5"), ("5.", b"5"),
        ("007", b"7"), ("-.25", b"-0.25"), ("0", b"0"), ("00", b"0"), ("0.10", b"0.10"), ("1E+2", b"1E+2"),
        ("12345678901234567890", b"12345678901234567890"), ("", None), ("nan", None), ("NaN", None),
        ("  ", None), ("inf", b"Infinity"), ("-Infinity", b"-Infinity"), ("1_000", b'"1_000"'),
        ("1,5", b'"1,5"'), ("abc", b'"abc"'), ("0x1f", b'"0x1f"'), ("\u0661", '"\u0661"'.encode()),
    ],
)  # fmt: skip
def test_a_cell_of_a_number_is_a_number_a_gap_or_text(tmp_path, cell, value):
    with (tmp_path / "r.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a", "z"], [cell, cell]])
    ((payloads, bad),) = batches_of(CsvRecords(tmp_path / "r.csv", {"a": DType.FLOAT64}))
    other = b'"z":' + orjson.dumps(cell) if cell else b""
    first = b"" if value is None else b'"a":' + value
    assert payloads == [b"{" + b",".join(filter(None, (first, other))) + b"}"]
    assert not bad


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70))
def test_numbers_keep_their_value_in_a_cell(tmp_path_factory, number):
    path = tmp_path_factory.mktemp("csv") / "r.csv"
    for text in (repr(number), f"+{abs(number)!r}" if number >= 0 else repr(number)):
        path.write_text(f"a\n{text}\n")
        (payload,) = batches_of(CsvRecords(path, {"a": DType.FLOAT64}))[0][0]
        assert json.loads(payload)["a"] == number


def test_a_line_with_too_few_or_too_many_cells_is_refused_alone(tmp_path):
    (tmp_path / "r.csv").write_text('\ufeffa;b\n1;2\n\n3\n4;5;6\n"7\n";8\n', encoding="utf-8")
    ((payloads, bad),) = batches_of(CsvRecords(tmp_path / "r.csv", {"a": DType.INT64}, ";"))
    assert payloads == [b'{"a":1,"b":"2"}', b"", b"", b'{"a":7,"b":"8"}']
    assert [(r, b.row, b.reason) for r, b in bad.items()] == [
        (1, 1, "line 4 has 1 cells, the header has 2"),
        (2, 2, "line 5 has 3 cells, the header has 2"),
    ]


def test_lines_that_are_too_long_are_refused_and_passed_over(tmp_path):
    lines = [b'{"a":1}', b'{"a":"' + b"x" * 100 + b'"}', b"   ", b"", b'{"a":2}\r', b"y" * 21, b'{"a":3}']
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(lines))
    ((payloads, bad),) = batches_of(JsonLines(tmp_path / "r.jsonl", max_bytes=20))
    assert payloads == [b'{"a":1}', b"", b'{"a":2}', b"y" * 21, b'{"a":3}']
    assert [b.code for b in bad.values()] == ["too_large"] and list(bad) == [1]
    assert [b.row for b in JsonCodec(20).decode(payloads, ()).bad] == [1, 3]


def test_parquet_becomes_the_json_that_a_producer_would_send(tmp_path):
    at = datetime.datetime(2024, 1, 2, 3, 4, 5, 678901)
    table = pa.table(
        {
            "ns": pa.array([at, None], pa.timestamp("ns")),
            "us": pa.array([at, at], pa.timestamp("us", "UTC")),
            "day": pa.array([at.date(), datetime.date(1969, 12, 31)]),
            "dec": pa.array([Decimal("12345678901234567890.10"), None], pa.decimal128(38, 2)),
            "cat": pa.array(["red", "green"]).dictionary_encode(),
            "u8": pa.array([255, 0], pa.uint8()),
            "f32": pa.array([0.5, float("nan")], pa.float32()),
            "raw": pa.array([b"\xff", b""]),
            "list": pa.array([[1, None], []]),
            "nested": pa.array([{"x": {"y": 1}}, None]),
            "unread": pa.array([1, 2]),
        }
    )
    pq.write_table(table, tmp_path / "r.parquet")
    fields = [n for n in table.column_names if n != "unread"]
    ((payloads, _),) = batches_of(ParquetRecords(tmp_path / "r.parquet", fields))
    ms = 1704164645678
    assert b'"dec":12345678901234567890.10,' in payloads[0]
    assert [json.loads(p) for p in payloads] == [
        {
            "ns": ms, "us": ms, "day": 19724, "dec": 12345678901234567890.10, "cat": "red", "u8": 255,
            "f32": 0.5, "raw": "/w==", "list": [1, None], "nested": {"x": {"y": 1}},
        },
        {
            "ns": None, "us": ms, "day": -1, "dec": None, "cat": "green", "u8": 0, "f32": None, "raw": "",
            "list": [], "nested": None,
        },
    ]  # fmt: skip


def test_infinity_in_parquet_is_refused_and_not_missing(tmp_path):
    columns = {
        "a": pa.array([1.0, float("inf"), None, float("nan")]),
        "l": pa.array([[1.0], [2.0], [float("-inf")], [1.0]]),
    }
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    file = ParquetRecords(tmp_path / "r.parquet", None)
    ((payloads, _),) = batches_of(file)
    inputs = (Input("a", DType.FLOAT64, (), ("a",)), Input("l", DType.FLOAT64, (1,), ("l",)))
    bad = file.codec.decode(payloads, inputs).bad
    assert [(b.row, b.code) for b in bad] == [(1, "not_finite"), (2, "not_finite"), (3, "null")]


def test_maps_of_parquet_are_objects_and_infinity_in_them_is_none_missing(tmp_path):
    maps, flags = pa.map_(pa.int64(), pa.float64()), pa.map_(pa.string(), pa.bool_())
    columns = {
        "m": pa.array([[(1, 1.5)], [(1, float("inf"))], None], maps),
        "l": pa.array([[{"m": [("a", True)]}], [], None], pa.list_(pa.struct([("m", flags)]))),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    file = ParquetRecords(tmp_path / "r.parquet", None)
    ((payloads, _),) = batches_of(file)
    assert list(map(json.loads, payloads)) == [
        {"m": {"1": 1.5}, "l": [{"m": {"a": True}}]}, {"m": {"1": math.inf}, "l": []}, {"m": None, "l": None},
    ]  # fmt: skip
    reading = FieldReading("x", ("m", "1"), default=0.0)
    decoded = file.codec.decode(payloads, (Input("x", DType.FLOAT64, (), ("x",)),), (reading,))
    assert decoded.columns["x"].tolist() == [1.5, 0]
    assert [(b.row, b.code) for b in decoded.bad] == [(1, "not_finite")]


def test_keys_of_maps_in_parquet_are_texts_of_what_values_of_their_kind_are(tmp_path):
    day = datetime.date(2020, 1, 1)
    kinds = [
        ("s", pa.string(), "s"), (b"\xff\0", pa.binary(), "/wA="), (True, pa.bool_(), "true"),
        (-5, pa.int64(), "-5"), (1.5, pa.float64(), "1.5"), (day, pa.date32(), "18262"),
        (datetime.datetime(1970, 1, 1, 0, 0, 1), pa.timestamp("us"), "1000"),
        (Decimal("0.0000001"), pa.decimal128(10, 7), "0.0000001"),
    ]  # fmt: skip
    columns = {text: pa.array([[(key, 1)]], pa.map_(kind, pa.int64())) for key, kind, text in kinds}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    ((payloads, _),) = batches_of(ParquetRecords(tmp_path / "r.parquet", None))
    assert json.loads(payloads[0]) == {text: {text: 1} for *_, text in kinds}


def test_infinity_in_a_tensor_of_parquet_is_not_missing(tmp_path):
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.array([[1, 2.5], [3, np.inf]]))
    pq.write_table(pa.table({"x": tensors}), tmp_path / "r.parquet")
    ((payloads, _),) = batches_of(ParquetRecords(tmp_path / "r.parquet", None))
    assert list(map(json.loads, payloads)) == [{"x": [1, 2.5]}, {"x": [3, math.inf]}]


def test_a_value_of_parquet_that_is_none_leaves_its_neighbours(tmp_path):
    years = pa.array([0, 2**62, 1_000_000], pa.timestamp("us"))
    text = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffb")]
    )
    for column, first in ((years, 0), (text, "a")):
        pq.write_table(pa.table({"t": column}), tmp_path / "r.parquet")
        ((payloads, bad),) = batches_of(ParquetRecords(tmp_path / "r.parquet", None))
        assert json.loads(payloads[0])["t"] == first and json.loads(payloads[2])
        row = 1
        assert [(r, b.row, b.code) for r, b in bad.items()] == [(row, row, "unparsable")]


def test_parquet_with_two_columns_of_one_name_is_refused(tmp_path):
    """The last of them was taken."""
    two = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0]), pa.array([3])], names=["x", "x", "y"])
    pq.write_table(two, tmp_path / "a.parquet")
    for fields in (None, {"x"}):
        with pytest.raises(SourceError, match="two columns of the name 'x'"):
            ParquetRecords(tmp_path / "a.parquet", fields)
    assert [b.payloads for b in ParquetRecords(tmp_path / "a.parquet", {"y"}).batches(9)] == [[b'{"y":3}']]


def test_parquet_has_numbers_of_half_precision_also_in_lists(tmp_path):
    half, lists = pa.array(np.array([1.5, np.nan], np.float16)), pa.list_(pa.float16())
    vectors = pa.array([np.array([0.5, np.nan], np.float16), None], lists)
    pq.write_table(pa.table({"h": half, "v": vectors}), tmp_path / "r.parquet")
    ((payloads, _),) = batches_of(ParquetRecords(tmp_path / "r.parquet", None))
    assert list(map(json.loads, payloads)) == [{"h": 1.5, "v": [0.5, None]}, {"h": None, "v": None}]
    pq.write_table(pa.table({"h": half, "x": [np.inf, 1.0]}), tmp_path / "r.parquet")
    ((payloads, _),) = batches_of(ParquetRecords(tmp_path / "r.parquet", None))
    assert list(map(json.loads, payloads)) == [{"h": 1.5, "x": np.inf}, {"h": None, "x": 1.0}]


def test_a_schema_that_a_job_refuses_is_refused(run, tmp_path):
    node = {"name": "next", "type": ["null", "R"]}
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "double"}, node]}
    with (tmp_path / "r.avro").open("wb") as file:
        fastavro.writer(file, schema, [{"a": 1.0, "next": None}])
    done = run(tmp_path / "r.avro")
    assert done.exit_code == 1 and "recursive at R" in done.stderr and "/schema.avsc" not in done.stderr
    with pytest.raises(SourceError):
        list(JsonLines(tmp_path / "absent.jsonl").batches(1))


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    """Of a file of 14 MB less than 3 MB is in memory at a time."""
    path = tmp_path / f"r.{kind}"
    if kind == "jsonl":
        path.write_bytes(b'{"a":1,"z":"%b"}\n' % (b"x" * 50) * 200_000)
        file = JsonLines(path)
    else:
        path.write_bytes(b"a,z\n" + b"1,%b\n" % (b"x" * 68) * 200_000)
        file = CsvRecords(path, {"a": DType.FLOAT64})
    tracemalloc.start()
    try:
        count = sum(len(batch.payloads) for batch in file.batches(1024))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 200_000 and path.stat().st_size > 12_000_000
    assert peak < 3_000_000


SMOKE = b'{"a":1,"b":2,"t":"x","f":true}\n'


def test_smoke_rows_travel_in_the_descriptor_and_are_used(run, model, tmp_path, monkeypatch):
    from udfs.models.descriptor import parse

    seen = []
    whole = Sum.predict
    monkeypatch.setattr(Sum, "predict", lambda s, c: (seen.extend(c["a"].tolist()), whole(s, c))[1])
    (tmp_path / "smoke.jsonl").write_bytes(SMOKE + b"\n" + SMOKE.replace(b"1", b"7"))
    arguments = ["publish", model, "--data-type", "w", "--to-folder", tmp_path / "stream"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--smoke", str(tmp_path / "smoke.jsonl")])
    assert done.exit_code == 0, done.output
    (sent,) = (tmp_path / "stream").iterdir()
    published = parse(sent.read_bytes())
    assert published.smoke_rows == (SMOKE.strip(), SMOKE.strip().replace(b"1", b"7"))
    assert {1.0, 7.0} <= set(seen)  # and one that is made up, for company
    seen.clear()
    loading.load_model(published, loading.LoadPolicy(warm_up_batches=())).close()
    assert {1.0, 7.0} <= set(seen)


def test_a_model_that_needs_smoke_rows_is_scored_as_a_job_does(run, model, tmp_path, monkeypatch):
    """Made-up numbers are below 1: without records of the stream the model is refused by both."""

    def root(self, columns):
        if (columns["a"] < 1).any():
            raise PredictError("too small")
        return whole(self, columns)

    whole = Sum.predict
    monkeypatch.setattr(Sum, "predict", root)
    (tmp_path / "smoke.jsonl").write_bytes(SMOKE + SMOKE.replace(b"1", b"7"))
    records, to = tmp_path / "r.jsonl", tmp_path / "o.jsonl"
    records.write_bytes(SMOKE + SMOKE.replace(b"1", b"0") + SMOKE.replace(b"1", b"2"))
    options = ["score", str(model), "--records", str(records), "--to", str(to)]
    assert "too small" in CliRunner().invoke(app, options).stderr
    done = CliRunner().invoke(app, [*options, "--smoke", str(tmp_path / "smoke.jsonl")])
    assert done.exit_code == 0, done.output
    outcomes = [orjson.loads(line)["outcome"] for line in to.read_bytes().splitlines()]
    assert outcomes == ["scored", "failed", "scored"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no records"),
        (SMOKE + b"{", "record 2 of"),
        (b"[1]", "no JSON object"),
        (SMOKE * 1025, "has 1025 records"),
        (b'{"t":"' + b"x" * 600_000 + b'"}', "bytes of smoke rows"),
        (
            b'{"a":"x","b":2,"t":"x","f":true}',
            "smoke row 1 of 1 does not fit the model: field 'a' holds text",
        ),
    ],
)
def test_smoke_rows_that_cannot_be_used_are_told(model, tmp_path, content, said):
    (tmp_path / "smoke.jsonl").write_bytes(content)
    done = CliRunner().invoke(app, ["check-model", str(model), "--smoke", str(tmp_path / "smoke.jsonl")])
    assert done.exit_code == 1 and said in done.stderr, done.output


DECLARED = """
[inputs.a]
path = "payload.amount"
from = "text"
default = 10
range = [100, 200]

[inputs.b]
constant = 3

[inputs.t]
path = "payload.kind"

[inputs.f]
path = "payload.flag"
from = "flag"
"""


def test_declared_inputs_are_checked_published_and_scored_by_one_rule(run, model, tmp_path, monkeypatch):
    from udfs.models.descriptor import parse

    seen = []
    whole = Sum.predict
    monkeypatch.setattr(Sum, "predict", lambda s, c: (seen.extend(c["a"].tolist()), whole(s, c))[1])
    declared = tmp_path / "inputs.toml"
    declared.write_text(DECLARED)
    fields = {"a": ("payload.amount",), "b": ("b",), "t": ("payload.kind",), "f": ("payload.flag",)}
    named = tuple(Input(i.name, i.dtype, i.shape, fields[i.name]) for i in Sum.inputs)
    monkeypatch.setattr(Sum, "inputs", named)  # a runtime takes its fields from the descriptor's inputs
    arguments = [
        "publish",
        model,
        "--data-type",
        "w",
        "--to-folder",
        tmp_path / "stream",
        "--inputs",
        declared,
    ]
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    assert "from payload.amount" in done.output
    assert min(seen) >= 100 and max(seen) <= 200
    (sent,) = (tmp_path / "stream").iterdir()
    job = loading.load_model(parse(sent.read_bytes()), loading.LoadPolicy(warm_up_batches=()))
    records = [
        {"payload": {"amount": "1.5", "kind": "k", "flag": 1}},
        {"payload": {"kind": "k", "flag": "false"}},
        {"payload": {"amount": "much", "kind": "k", "flag": 0}},
    ]
    payloads = [orjson.dumps(r) for r in records]
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(payloads))
    done = run(tmp_path / "r.jsonl", "out.jsonl", "--inputs", declared)
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "out.jsonl")
    assert [r.get("y") for r in rows] == [4.5, 13.0, None]
    assert [r.get("label") for r in rows] == ["kTrue", "kFalse", None]
    assert "'payload.amount' holds text ('much'), which is no number" in rows[2]["reason"]
    scored = score(batch_of(payloads), job, JsonCodec(), True)
    assert [read_result(line).scores["y"] for line in scored.lines] == [4.5, 13.0]
    assert scored.dead[0].reason == rows[2]["reason"]


def test_declared_fields_of_csv_stand_as_their_form_says(run, tmp_path, monkeypatch):
    (tmp_path / "i.toml").write_text(
        '[inputs.a]\nfrom = "decimal"\nscale = 2\n[inputs.t]\nfrom = "number"\n[inputs.f]\nfrom = "flag"\n'
    )
    (tmp_path / "r.csv").write_text("a,b,t,f\n150,2,7,1\n-25,3,x,true\n")
    done = run(tmp_path / "r.csv", "out.jsonl", "--inputs", tmp_path / "i.toml")
    assert done.exit_code == 0, done.output
    assert [(r["y"], r["label"]) for r in rows_of(tmp_path / "out.jsonl")] == [
        (3.5, "7True"),
        (2.75, "xTrue"),
    ]


def of_avro(schema: bytes, block: bytes = b"") -> bytes:
    length = bytes([len(schema) * 2 & 127 | 128, len(schema) * 2 >> 7])
    return b"Obj\x01\x02\x16avro.schema" + length + schema + b"\0" + b"S" * 16 + block


LONG = b'{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (of_avro(b"5" + b" " * 70), "as an Avro container file"),
        (of_avro(b"[" * 2000), "as an Avro container file"),
        (of_avro(LONG, b"\x09\x02\x0a" + b"S" * 16), "a block of -5 records"),
        (of_avro(LONG, b"\x02" + b"\xff" * 8 + b"\x7f\x0a"), "is damaged"),
    ],
)
def test_a_damaged_container_is_said_to_be_one(tmp_path, content, said):
    (tmp_path / "r.avro").write_bytes(content)
    with pytest.raises(SourceError, match=said):
        list(AvroRecords(tmp_path / "r.avro", tmp_path).batches(10))


def test_one_record_of_a_container_that_does_not_fit_leaves_the_others(tmp_path):
    schema = (
        b'{"type":"record","name":"R","fields":[{"name":"f","type":"boolean"},{"name":"a","type":"int"}]}'
    )
    wide = b"\x01\x80\x80\x80\x80\x10"  # 2 ** 31
    block = b"\x01\x02" + b"\x07\x04" + wide + b"\x00\x06"
    (tmp_path / "r.avro").write_bytes(of_avro(schema, b"\x08" + bytes([len(block) * 2]) + block + b"S" * 16))
    records = AvroRecords(tmp_path / "r.avro", tmp_path)
    (batch,) = records.batches(10)
    decoded = records.codec.decode(batch.payloads, [Input("a", DType.INT64, (), ("a",))])
    assert decoded.columns["a"].tolist() == [1, 3]
    assert [(b.row, b.reason.partition(": ")[2]) for b in decoded.bad] == [
        (1, "field 'f' holds a boolean of the byte 7, neither 0 nor 1"),
        (2, "field 'a' holds 2147483648, which is no int of 32 bits"),
    ]


def test_half_a_line_of_csv_is_no_record(tmp_path):
    (tmp_path / "r.csv").write_text("a\n" + "9" * 2000 + "\n5\n")
    with pytest.raises(SourceError, match="more than 1000 characters"):
        list(CsvRecords(tmp_path / "r.csv", {"a": DType.FLOAT64}, max_bytes=1000).batches(10))


def test_a_cell_of_a_list_is_no_more_than_a_list(tmp_path):
    (tmp_path / "r.csv").write_text('a,x\n5,"[1],""a"":999"\n6,"[1, 2.50]"\n')
    records = CsvRecords(tmp_path / "r.csv", {"a": DType.FLOAT64, "x": None})
    ((payloads, _),) = batches_of(records)
    assert orjson.loads(payloads[0]) == {"a": 5, "x": '[1],"a":999'}
    assert payloads[1] == b'{"a":6,"x":[1, 2.50]}'


def test_a_quote_that_nothing_ends_is_no_cell_of_all_that_follows(tmp_path):
    """Without a word three records would be one, and their neighbours be gone."""
    path, types = tmp_path / "r.csv", {"a": DType.FLOAT64, "t": DType.TEXT}
    path.write_text('a,t\n1,"x\n2,y\n3,z\n')
    with pytest.raises(SourceError, match="begins in line 2 has a quote that nothing ends"):
        batches_of(CsvRecords(path, types))
    path.write_text('a,t\n1,x\n1,"x\n' + "2,y\n" * 30)
    with pytest.raises(SourceError, match="begins in line 3 has a cell of more than 90 characters: does its"):
        batches_of(CsvRecords(path, types, max_bytes=90))
    path.write_text('a,t\n1,"x\n2,"y"\n3,"z\r\n""w"""\n4,5" pipe\n5,"x"y\n')
    ((payloads, bad),) = batches_of(CsvRecords(path, types))
    assert list(map(json.loads, filter(None, payloads))) == [
        {"a": 3, "t": 'z\r\n"w"'},
        {"a": 4, "t": '5" pipe'},
    ]
    said = "has more in a cell after the quote that ends it"
    assert {r: b.reason for r, b in bad.items()} == {0: f"line 3 {said}", 3: f"line 7 {said}"}
    path.write_text('a,"t"x\n1,2\n')
    with pytest.raises(SourceError, match=r"the header of .* is no CSV: more in a cell"):
        CsvRecords(path, types)


def test_a_header_of_many_columns_is_looked_through_once(tmp_path):
    (tmp_path / "r.csv").write_text(",".join(f"c{n}" for n in range(30_000)) + "\n")
    started = time.perf_counter()
    assert len(CsvRecords(tmp_path / "r.csv", {}).names()) == 30_000
    assert time.perf_counter() - started < 3
