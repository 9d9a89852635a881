"""SQL steps and references: through operators, on the mini cluster, from files, every row is the same."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.features import check
from jobs.settings.features import FeatureSettings
from millrace.cli import app
from operators.features import decode_events, decode_references
from tests.feature_enriched import VIEWS, declare, streams, write_histories
from tests.feature_harness import FeatureHarness
from tests.feature_streams import encoded, read_history
from tests.operators.test_features_folder import job, letters_of, partitions
from tests.refusals import refused
from udfs.io.s3 import S3Options
from udfs.stores.history.compute import compute_rows
from udfs.stores.history.consistency import compare_history, rows_of
from udfs.stores.stored_views import stored_views

COUNT, BATCH = 40_000, 2_000
START = 1_700_000_000_000


def test_every_row_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(START + 10**9, START + 10**12, 200))
    for module in (decode_events, decode_references):
        monkeypatch.setattr(module, "_now", lambda: next(clock))
    sent = streams(COUNT, START, 9)
    for name, of in sent.items():
        assert sum(a["at"] > b["at"] for a, b in pairwise(of)) > len(of) * 0.02, name
    declared = declare(tmp_path / "views.py", history=str(tmp_path))
    write_histories(declared, sent, S3Options())

    harness = FeatureHarness(declared, partitions=2)
    batches = COUNT // BATCH
    done = dict.fromkeys(("zips", "networks"), 0)
    for at in range(batches):
        for name, begin in done.items():  # now ahead of the events, now behind
            end = len(sent[name]) * (at + 1 + at % 3 - 1) // batches
            if end > begin:
                harness.refer(name, sent[name][begin:end])
                done[name] = end
        for partition in (0, 1):
            harness.send(sent["signals"][at * BATCH : (at + 1) * BATCH][partition::2], partition)
        if at % 7 == 3:
            harness.restart()
    for name, begin in done.items():
        if sent[name][begin:]:
            harness.refer(name, sent[name][begin:])
    assert sum(batch.num_rows for batch in harness.rows["spend_v1"]) > COUNT // 2, "before the end, too"
    harness.end()

    assert harness.dead == []
    stored = stored_views(declared, "history")
    for view in declared.views:
        computed = rows_of(compute_rows(declared, view, S3Options()), stored[view.id])
        streamed = rows_of(harness.rows[view.id], stored[view.id])
        found = compare_history(computed, streamed, stored[view.id], set())
        assert (found.mismatched, found.missing, found.extra) == (0, 0, 0), (view.id, found.examples)
        assert found.equal == len(computed) == len(streamed) > 100
    towns = Counter(row["town"] for batch in harness.rows["spend_v1"] for row in batch.to_pylist())
    assert min(towns[None], towns["a"], towns[""]) > 1000, "rows with and without a reference"


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_stream_and_batch_agree_on_the_mini_cluster(tmp_path: Path, mode: str) -> None:
    sent = streams(8_000, 1_700_002_400_000, 40, accounts=60)
    declared = declare(tmp_path / "views.py", history=str(tmp_path / "past"))
    write_histories(declared, sent, S3Options())
    for name, of in sent.items():
        folder = tmp_path / ("records" if name == "signals" else "references") / name
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_bytes(b"\n".join(encoded(of)) + b"\n")
    common = ["--declarations", str(tmp_path / "views.py"), "--parallelism", "2", "--mode", mode]
    stream = ["--folder.root", str(tmp_path), "--bounded", "true", "--checkpoint-seconds", "1"]
    done = job("features.py", tmp_path, *common, *stream, "--history.url", str(tmp_path / "streamed"))
    assert done.returncode == 0, done.stderr[-3000:]
    dead = ["--dead-letters", str(tmp_path / "batch-dead-letters"), "--slice-seconds", "60"]
    done = job("backfill.py", tmp_path, *common, *dead, "--history.url", str(tmp_path / "batch"))
    assert done.returncode == 0, done.stderr[-3000:]

    streamed = read_history(declared, str(tmp_path / "streamed"), S3Options())
    batch = read_history(declared, str(tmp_path / "batch"), S3Options())
    for view in VIEWS:
        mismatched = Counter(streamed[view]) - Counter(batch[view])
        missing = Counter(batch[view]) - Counter(streamed[view])
        assert (len(mismatched), len(missing)) == (0, 0), (view, list(mismatched)[:3], list(missing)[:3])
    assert len(streamed["spend_v1"]) == len(streamed["towns_v1"]) == 8_000
    assert len(streamed["busy_v1"]) > 10
    assert partitions(tmp_path / "streamed" / "spend_v1") == {"dt=2023-11-14"}
    assert letters_of(tmp_path / "dead-letters") == letters_of(tmp_path / "batch-dead-letters") == []

    arguments = ["check-consistency", str(tmp_path / "views.py"), "--history", str(tmp_path / "streamed")]
    checked = CliRunner().invoke(app, [*arguments, "--json"])
    assert checked.exit_code == 0, checked.output
    assert {v: r["history"]["equal"] for v, r in json.loads(checked.stdout).items()} == {
        view: len(streamed[view]) for view in VIEWS
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("round(amount * 100)", "amount * random()"), "the expression of 'cents' calls random()"),
        (("round(amount * 100)", "sum(amount)"), "calls sum(), which is no function of one row"),
        (('"entity":["place"]', '"entity":["factor"]'), "'factor' comes after an enrichment"),
        (('"reference":"networks"', '"reference":"nets"'), "there is no reference 'nets'"),
    ],
)
def test_wrong_steps_are_refused_in_one_sentence(
    tmp_path: Path, change: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "views.py"
    declare(file)
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    folder = ["--folder.root", str(tmp_path), "--history.url", str(tmp_path / "history")]
    given = ["--declarations", str(file), *folder]
    assert said in refused(FeatureSettings, check, given, capsys)
