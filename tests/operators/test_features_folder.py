"""The feature jobs on the mini cluster, from folders to folders: streamed, in batch, and with bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from devservices.process import ROOT, jars
from jobs.features import check
from jobs.settings.features import FeatureSettings
from schemas.results.records import DeadLetter, decode
from tests.feature_streams import VIEWS, declare, encoded, events, read_history, write_history
from tests.refusals import refused
from udfs.io.folder_files import visible_files
from udfs.io.s3 import S3Options

COUNT = 20_000
BAD = {b"{": "unparsable", b'{"id": "x", "account": null, "at": 1}': "null", b"[]": "not_an_object"}


def job(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "log").mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "jobs" / name), "--jars", str(jars("lib").parent), *arguments]
    flink = {"restart-strategy.type": "none", "rest.bind-port": "0", "pipeline.auto-watermark-interval": "1"}
    return subprocess.run(
        [*command, "--flink", json.dumps(flink)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"FLINK_LOG_DIR": str(folder / "log")},
    )


def test_stream_and_batch_agree(tmp_path: Path) -> None:
    sent = events(COUNT, 1_700_002_400_000, 40, accounts=60)  # thirteen minutes, over an hour's end
    records = tmp_path / "records" / "signals"
    records.mkdir(parents=True)
    lines = list(encoded(sent))
    (records / "a.jsonl").write_bytes(b"\n".join([*lines[:5000], *BAD, *lines[4990:15_000]]) + b"\n")
    (records / "b.jsonl").write_bytes(b"\n".join(lines[15_000:]) + b"\n")
    file = tmp_path / "views.toml"
    declared = declare(file, history=str(tmp_path / "events"))
    write_history([*sent[4990:5000], *reversed(sent)], str(tmp_path / "events"), S3Options())

    common = ["--declarations", str(file), "--parallelism", "1"]
    stream = [
        "--history.partition",
        "hour",
        "--folder.root",
        str(tmp_path),
        "--bounded",
        "true",
        "--checkpoint-seconds",
        "1",
    ]
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
    assert len(streamed["spend_v1"]) == len(streamed["peak_v1"]) == COUNT
    assert streamed["busy_v1"] and streamed["minutes_v2"]
    assert partitions(tmp_path / "streamed" / "spend_v1") == {"dt=2023-11-14/hr=22", "dt=2023-11-14/hr=23"}
    assert partitions(tmp_path / "batch" / "spend_v1") == {"dt=2023-11-14"}

    letters = letters_of(tmp_path / "dead-letters")
    views = Counter(letter.data_type for letter in letters if letter.code in ("late", "duplicate"))
    assert views == dict.fromkeys(("spend_v1", "busy_v1", "minutes_v2"), 10)
    assert Counter(letter.code for letter in letters if letter.data_type == "signals") == Counter(
        BAD.values()
    )


HASTY = """
import runpy
from operators import event_watermark
event_watermark._IDLE_MS = event_watermark._START_MS = 1
runpy.run_path("jobs/features.py", run_name="__main__")
"""


def test_who_is_slow_to_begin_with_finite_input_is_waited_for(tmp_path: Path) -> None:
    """One instance has no file and ends. The other is silent for longer than one that may be idle is waited
    for: in the job as it is that takes a busy machine."""
    sent = events(2000, 1_700_002_400_000, 40, accounts=60)
    records = tmp_path / "records" / "signals"
    records.mkdir(parents=True)
    (records / "a.jsonl").write_bytes(b"\n".join(encoded(sent)) + b"\n")
    declared = declare(tmp_path / "views.toml", history=str(tmp_path / "events"))
    (tmp_path / "hasty.py").write_text(HASTY)
    given = ["--declarations", str(tmp_path / "views.toml"), "--parallelism", "2", "--bounded", "true"]
    given += ["--folder.root", str(tmp_path), "--history.url", str(tmp_path / "streamed")]
    done = job(str(tmp_path / "hasty.py"), tmp_path, *given)
    assert done.returncode == 0, done.stderr[-3000:]
    assert letters_of(tmp_path / "dead-letters") == []
    assert len(read_history(declared, str(tmp_path / "streamed"), S3Options())["spend_v1"]) == 2000


def partitions(view: Path) -> set[str]:
    """Folders of a view's history that have files."""
    return {path.relative_to(view).parent.as_posix() for path in visible_files(view)}


def letters_of(folder: Path) -> list[DeadLetter]:
    lines = (line for file in visible_files(folder) for line in file.read_bytes().splitlines())
    return [decode(DeadLetter, line) for line in lines]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('type = "timestamp"', 'type = "string"'), "event_time 'at' must be a column of type timestamp"),
        (('source = "spend_v1"', 'source = "spend_v9"'), "there is no source and no view 'spend_v9'"),
        (('name = "amount"\n', 'name = "amout"\n'), "there is no 'amout'"),
    ],
)
def test_wrong_declarations_are_refused_in_one_sentence(
    tmp_path: Path, change: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "views.toml"
    declare(file)
    file.write_text(file.read_text().replace(*change))
    folder = ["--folder.root", str(tmp_path), "--history.url", str(tmp_path / "history")]
    given = ["--declarations", str(file), *folder]
    assert said in refused(FeatureSettings, check, given, capsys)
