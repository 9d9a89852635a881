"""Quality from streams and from the store: the same numbers, and those of DuckDB and scikit-learn."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from millrace.cli import app
from schemas.errors import StoreError
from schemas.features.feature_batch import CREATED, TIMESTAMP
from schemas.lifecycle.quality import ALL, EvidenceBatch, QualityRecord, read_message, write_message
from tests.outcome_cases import JUDGING, MemoryStore, batch, key_of, outcome, result
from udfs.io.s3 import S3Options
from udfs.lifecycle.outcomes.counting import COUNTED, OTHER, Counter
from udfs.lifecycle.outcomes.evidence import evidence
from udfs.lifecycle.outcomes.fates import Fates
from udfs.lifecycle.outcomes.joining import Joined, Joining, Terms
from udfs.lifecycle.outcomes.progress import END
from udfs.lifecycle.outcomes.reading import Reader
from udfs.lifecycle.outcomes.rows import MODEL, to_rows
from udfs.lifecycle.outcomes.stored import stored_quality, told_apart_by
from udfs.lifecycle.outcomes.telling import KeptQuality
from udfs.lifecycle.quality.exchange import from_plain
from udfs.lifecycle.quality.windows import Quality
from udfs.stores.history.lines import to_lines

WINDOW = 60_000
START = 1_790_000_000_000
COUNT = 3_000


def messages() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Results with and without scores, experiments and candidates; outcomes, some missing, some corrected."""
    rng = random.Random(7)
    results, outcomes = [], []
    for n in range(COUNT):
        score, at = rng.random(), START + n * 200
        stamp: dict[str, Any] = {"model": rng.choice(["forest", "a/b=c"])}
        if n % 2:
            stamp["experiments"] = {"e": {"arm": rng.choice(["control", "treatment"]), "step": 1}}
            stamp["answers"] = {
                "one": {"outcome": "scored", "version": 4, "scores": {"p": score}},
                "two": {"outcome": "late", "version": 5},
            }
        country = rng.choice(["de", "fr", 'a"b\n', None])
        results.append(
            result(n, at, None if n % 50 == 0 else score, version=1 + n % 2, country=country, stamp=stamp)
        )
        if n % 5:
            outcomes.append(outcome(n, at + 1_000, rng.random() < score, revenue=rng.random()))
        if n % 7 == 1:
            outcomes.append(outcome(n, at + 2_000, rng.random() < score))
    rng.shuffle(outcomes)
    return results, outcomes


def joined() -> list[Joined]:
    """What micro-batches of both settle, in order."""
    results, outcomes = messages()
    reader, store, fates = Reader({"wine": JUDGING}, 1, 1), MemoryStore(), Fates()
    found = []
    for at in range(0, COUNT, 500):
        joining = Joining(Terms(window=10_000), store, fates, 0)
        for delivery in reader.results(batch(results[at : at + 500])).deliveries.values():
            joining.results(delivery)
        for delivery in reader.outcomes(batch(outcomes[at : at + 500])).deliveries.values():
            joining.outcomes(delivery)
        found.append(joining.done())
    joining = Joining(Terms(window=10_000), store, fates, 0)
    joining.close(END, END)
    return [*found, joining.done()]


@pytest.fixture(scope="module")
def parts() -> list[pa.RecordBatch]:
    return [to_rows(part.settled, JUDGING, 0) for part in joined()]


@pytest.fixture(scope="module")
def store(parts: list[pa.RecordBatch], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the job's sink writes it: a folder a model, times as timestamps."""
    root = tmp_path_factory.mktemp("store") / "wine"
    whole = pa.Table.from_batches(parts)
    for model, path in (("forest", "forest"), ("a/b=c", "a%2Fb%3Dc")):
        rows = whole.filter(pa.compute.equal(whole[MODEL], model)).drop_columns([MODEL])
        for name in (TIMESTAMP, CREATED, "outcome_time"):
            times = rows[name].cast(pa.timestamp("ms", "UTC"))
            rows = rows.set_column(rows.schema.get_field_index(name), name, times)
        folder = root / "dt=2026-09-21" / f"model={path}"
        folder.mkdir(parents=True)
        pq.write_table(rows, folder / "part-0")
    return root


def streamed(parts: list[pa.RecordBatch]) -> tuple[Quality, list[QualityRecord]]:
    """As the job counts: in parts, with state written and restored in the middle."""

    def new() -> KeptQuality:
        return KeptQuality(Counter("wine", JUDGING, WINDOW), 1, WINDOW, 0)

    kept, state, told = new(), dict[str, bytes](), []
    for n, rows in enumerate(parts):
        state |= dict(kept.add(rows.select([*COUNTED, *JUDGING.slices]), n))
        told += kept.tell(n)
        if n == 3:
            kept = new()
            kept.restore(None, list(state.items()), n)
    told += [*kept.close(99, lambda name: state.pop(name) and None, ended=True), *kept.tell(99)]
    newest = {record.key: record for record in told}
    assert all(record.closed or record.window == ALL for record in newest.values())
    assert all(json.loads(name)[0] == ALL for name in state)
    sums = {key_of(r): from_plain(r.kind, r.sums) for r in newest.values()}
    return Quality(sums), list(newest.values())


def same(one: Quality, other: Quality) -> None:
    assert one.sums.keys() == other.sums.keys()
    for key, sums in one.sums.items():
        theirs = other.sums[key]
        for name in sums.__struct_fields__:
            a, b = getattr(sums, name), getattr(theirs, name)
            if isinstance(a, int | dict) or name in sums.EXACT:
                assert a == b, (key, name)
            elif isinstance(a, np.ndarray) and a.dtype.kind == "i":
                assert np.array_equal(a, b), (key, name)
            else:
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)


def test_the_stream_and_the_store_give_the_same_numbers(parts: list[pa.RecordBatch], store: Path) -> None:
    told, records = streamed(parts)
    same(told, stored_quality(str(store), S3Options(), window_ms=WINDOW, slices=("country",)))
    assert {r.experiment for r in records} == {"", "e"} and {r.candidate for r in records} == {"", "one"}
    whole = told_apart_by(told, ()).sums
    (total,) = whole.values()
    assert total.predictions + total.unscored == COUNT
    assert sum(s.predictions for s in told_apart_by(told, ("window",)).sums.values()) == total.predictions


def test_the_numbers_are_those_of_duckdb_and_scikit_learn(store: Path) -> None:
    duckdb, metrics = pytest.importorskip("duckdb"), pytest.importorskip("sklearn.metrics")
    found = (
        duckdb.connect()
        .execute(
            f"""SELECT score, outcome, model, version
        FROM read_parquet('{store}/**/*', hive_partitioning = true) WHERE revision > 0
        QUALIFY row_number() OVER (PARTITION BY source, "partition", "offset" ORDER BY revision DESC) = 1"""
        )
        .fetchall()
    )
    assert len(found) == COUNT
    quality = stored_quality(str(store), S3Options(), window_ms=WINDOW)
    for key, sums in told_apart_by(quality, ("version",)).sums.items():
        of = [(s, o) for s, o, _, version in found if version == key.version and s is not None]
        scores, came = np.array([p for p in of if p[1] is not None]).T
        figures = sums.figures()
        assert figures["predictions"] == len(of) and figures["outcomes"] == len(scores)
        assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(came, scores >= 0.5), rel=1e-9)
        assert figures["log_loss"] == pytest.approx(metrics.log_loss(came, scores), rel=1e-9)
        assert figures["brier"] == pytest.approx(metrics.brier_score_loss(came, scores), rel=1e-9)
        assert abs(figures["auc"] - metrics.roc_auc_score(came, scores)) <= figures["auc_binning_error"]


def test_the_command_shows_it(store: Path) -> None:
    run = CliRunner()
    shown = run.invoke(app, ["quality", str(store), "--by", "model,version,country"])
    assert shown.exit_code == 0 and "a/b=c" in shown.output and "log_loss" in shown.output
    lines = run.invoke(app, ["quality", str(store), "--by", "arm", "--json"]).output.splitlines()
    assert {orjson.loads(line)["arm"] for line in lines} == {"control", "treatment"}
    assert sum(orjson.loads(line)["sums"]["predictions"] for line in lines) == COUNT // 2
    refused = run.invoke(app, ["quality", str(store.parent / "none")])
    assert refused.exit_code == 1 and "no predictions" in refused.output
    refused = run.invoke(app, ["quality", str(store), "--by", "colour"])
    assert refused.exit_code == 1 and "no column colour" in refused.output


def test_other_files_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(StoreError, match="is it a prediction store"):
        stored_quality(str(tmp_path), S3Options(), window_ms=WINDOW)


def test_too_many_slices_count_together(parts: list[pa.RecordBatch]) -> None:
    quality = Quality()
    for rows in parts:
        Counter("wine", JUDGING, WINDOW, most_keys=3).count(quality, rows)
    slices = {dict(key.slices)["country"] for key in quality.sums}
    assert OTHER in slices
    (total,) = told_apart_by(quality, ()).sums.values()
    assert total.predictions + total.unscored == COUNT


def test_what_once_counted_with_others_does_so_when_there_is_room_again() -> None:
    def settled(offset: int, country: str, *bought: bool) -> pa.RecordBatch:
        reader, store = Reader({"wine": JUDGING}, 1, 1), MemoryStore()
        joining = Joining(Terms(window=10_000), store, Fates(), 0)
        outcomes = (outcome(offset, START + n + 1, one) for n, one in enumerate(bought))
        for read in (
            reader.results(batch([result(offset, START, 0.9, country=country)])),
            reader.outcomes(batch(outcomes)),
        ):
            for delivery in read.deliveries.values():
                joining.results(delivery)
                joining.outcomes(delivery)
        return to_rows(joining.done().settled, JUDGING, 0)

    quality, counter = Quality(), Counter("wine", JUDGING, WINDOW, most_keys=3)
    counter.count(quality, settled(1, "de", True))
    counter.count(quality, both := settled(2, "fr", True, False).slice(0, 1))
    quality.sums = {key: sums for key, sums in quality.sums.items() if key.window == ALL}  # it has closed
    correction = settled(2, "fr", True, False).slice(1)
    assert both.num_rows == correction.num_rows == 1
    counter.count(quality, correction, open_from=END)
    counter.count(quality, settled(3, "fr", True), open_from=END)
    found = {dict(key.slices)["country"]: sums for key, sums in quality.sums.items()}
    assert set(found) == {"de", OTHER} and found[OTHER].predictions == 2
    assert (found[OTHER].true_positives, found[OTHER].false_positives) == (1, 1)  # type: ignore[union-attr]


def test_a_closed_window_gets_nothing_and_the_whole_does(parts: list[pa.RecordBatch]) -> None:
    counter = Counter("wine", JUDGING, WINDOW)
    quality = Quality()
    counter.count(quality, parts[0], open_from=END)
    assert quality.sums and {key.window for key in quality.sums} == {ALL}


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["outcome", "model", "version", "digest", "ms", "scores", "rule", "plan", "plan_version"]
NAMES += ["experiments", "answers", "source", "partition", "offset", "event_time", "data_type"]


@given(st.dictionaries(st.sampled_from(NAMES), ANY), st.dictionaries(st.sampled_from(["e", "f"]), ANY), ANY)
@settings(max_examples=400)
def test_whatever_a_stamp_says_the_job_goes_on(stamp: Any, nested: Any, field: Any) -> None:
    stamp = {"experiments": {"x": nested | {"step": field}}, "answers": {"x": nested}, **stamp}
    messages = [result(1, START, 0.5, stamp=stamp, customer=field, country=field, features=field)]
    found = Reader({"wine": JUDGING}, 1, 1).results(batch([orjson.dumps(m) for m in messages]))
    store, fates = MemoryStore(), Fates()
    joining = Joining(Terms(window=10_000), store, fates, 0)
    for delivery in found.deliveries.values():
        joining.results(delivery)
    came = Reader({"wine": JUDGING}, 1, 1).outcomes(batch([outcome(1, START, True, revenue=field)]))
    joining.outcomes(came.deliveries[0])
    joining.close(END, END)
    done = joining.done()
    rows = to_rows(done.settled, JUDGING, 0)
    to_lines(rows)
    Counter("wine", JUDGING, WINDOW).count(Quality(), rows)
    for message in evidence(done.closed, JUDGING, 0):
        assert read_message(EvidenceBatch, write_message(message)).entities == message.entities


def test_evidence_is_what_happened_record_by_record() -> None:
    found = [one for part in joined() for one in evidence(part.closed, JUDGING, 5)]
    assert {one.experiment for one in found} == {"e"}
    records = sum(len(one.entities) for one in found)
    assert records == COUNT // 2
    results, _ = messages()
    arms = {r["millrace"]["event_time"]: r["millrace"].get("experiments", {}).get("e", {}) for r in results}
    for one in found:
        assert {"outcome", "bought", "latency", "failed", "late"} <= set(one.values)
        for at, arm, step in zip(one.event_times, one.arms, one.steps, strict=True):
            assert arms[at] == {"arm": arm, "step": step}
        assert set(one.values["late"]) == {1.0} and set(one.values["latency"]) == {0.5}
        none = (None,) * len(one.entities)  # of a part without outcomes
        columns = (one.values.get(name, none) for name in ("outcome", "correct", "log_loss"))
        for came, correct, loss in zip(*columns, strict=True):
            assert (came is None) == (loss is None) == (correct is None)
            assert loss is None or (math.exp(-loss) >= 0.5) == (correct == 1.0)
