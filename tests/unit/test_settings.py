"""Settings from file, environment and flags; contradictions are one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs.settings.assemble import AssembleSettings
from jobs.settings.experiment import ExperimentSettings
from jobs.settings.features import FeatureSettings
from jobs.settings.outcomes import OutcomesSettings
from jobs.settings.run import settings_of
from jobs.settings.serve import JobSettings, ServeSettings
from jobs.settings.speculate import SpeculateSettings
from jobs.settings.streams import StreamSettings
from jobs.settings.track import TrackSettings
from jobs.settings.watch import WatchSettings
from schemas.errors import SettingsError
from udfs.models.model_store import StoreSpec

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in os.environ:
        if name.startswith("MILLRACE_") and name != "MILLRACE_ROOT":
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> str:
    file = tmp_path / "serve.toml"
    file.write_text("""
        name = "from-file"
        max_batch = 300
        [kafka]
        bootstrap = "file:9092"
        exactly_once = true
        [kafka.records]
        wine-records = "wine"
        [kafka.client]
        "security.protocol" = "SSL"
        [batch]
        min_ms = 30
        [buffer]
        records = 7
        [data_types.wine]
        fields = ["alcohol", "pH"]
    """)
    return str(file)


def test_a_file_says_all(toml: str):
    settings = settings_of(ServeSettings, ["--config", toml])
    assert (settings.name, settings.batch.min_ms, settings.folder) == ("from-file", 30, None)
    assert settings.kafka.records == {"wine-records": "wine"} and settings.kafka.exactly_once
    assert settings.kafka.client == {"security.protocol": "SSL"}
    spec = settings.scoring(StoreSpec("file:/kept"))
    assert spec.load["wine"].fields == ("alcohol", "pH") and spec.default_load.fields == ()
    assert spec.load["wine"].roots == spec.default_load.roots == ("file:/kept",)
    assert (spec.buffer.records, spec.buffer.bytes, spec.buffer.seconds) == (7, 256 << 20, 60.0)
    assert spec.max_batch == 300


def test_flags_win_over_the_environment_and_that_over_the_file(toml: str, monkeypatch):
    monkeypatch.setenv("MILLRACE_BATCH__MIN_MS", "40")
    monkeypatch.setenv("MILLRACE_MAX_BATCH", "400")
    monkeypatch.setenv("MILLRACE_KAFKA__BOOTSTRAP", "env:9092")
    settings = settings_of(ServeSettings, ["--config", toml, "--max-batch", "500"])
    assert (settings.name, settings.batch.min_ms, settings.max_batch) == ("from-file", 40, 500)
    assert settings.kafka.bootstrap == "env:9092"
    assert settings.kafka.records == {"wine-records": "wine"}, "parts of a table come from several places"


def test_the_environment_can_name_the_file(toml: str, monkeypatch):
    monkeypatch.setenv("MILLRACE_CONFIG", toml)
    assert settings_of(ServeSettings, []).name == "from-file"


def test_flags_alone(tmp_path: Path):
    arguments = ["--folder.root", str(tmp_path), "--bounded", "true", "--flink", '{"a.b": "c"}']
    settings = settings_of(ServeSettings, arguments)
    assert settings.folder.root == tmp_path and settings.bounded and settings.flink == {"a.b": "c"}
    assert settings.kafka is None


def test_one_run_leaves_nothing_to_the_next(toml: str, tmp_path: Path):
    settings_of(ServeSettings, ["--config", toml])
    settings = settings_of(ServeSettings, ["--folder.root", str(tmp_path)])
    assert settings.kafka is None and settings.name == "millrace-serve"


KAFKA = ["--kafka.bootstrap", "b:1", "--kafka.records", '{"t": "wine"}']


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give either kafka"),
        ([*KAFKA, "--folder.root", "/x"], "say with source and sinks"),
        ([*KAFKA, "--sinks", "folder"], "sinks names folder"),
        ([*KAFKA, "--source", "folder"], "source names folder"),
        ([*KAFKA, "--sinks", '["kafka", "kafka"]'], "sinks names kafka twice"),
        (["--folder.root", "/x", "--sinks", "file"], "sinks"),
        (["--kafka.bootstrap", "b:1", "--kafka.records", "{}"], "kafka.records is empty"),
        ([*KAFKA, "--kafka.exactly-once", "true"], "give name, or kafka.transaction_prefix"),
        (["--folder.root", "/x", "--batch.min-ms", "0"], "batch.*min_ms"),
        (["--folder.root", "/x", "--mode", "fork"], "mode"),
        (["--folder.root", "/x", "--config"], "--config needs"),
        (["--config", "/no/such.toml"], "no settings file /no/such.toml"),
    ],
)
def test_contradictions_are_one_sentence(arguments: list[str], says: str):
    with pytest.raises(SettingsError, match=says) as caught:
        settings_of(ServeSettings, arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "more", [["--name", "mine"], ["--kafka.transaction-prefix", "mine"], ["--kafka.exactly-once", "false"]]
)
def test_transactions_are_the_jobs_own_where_it_has_a_name(more: list[str]):
    settings = settings_of(ServeSettings, [*KAFKA, "--kafka.exactly-once", "true", *more])
    assert settings.kafka.delivery(settings.name).prefix in ("mine", "millrace-serve")


@pytest.mark.parametrize(
    "line",
    [
        "max_bach = 3",
        "buffer = {record = 7}",
        "window_ms = 30",
        "lanes = 4",
        "folder = {rot = '/x'}",
        "not toml",
        "\ufeffname = 'with a mark'",
        "name = 'caf\udce9'",
        f"max_batch = {'9' * 5000}",
        f"name = {'[' * 9999}",
        f"parallelism = {2**31}",
        f"batch = {{max_records = {2**31}}}",
        f"batch = {{max_bytes = {2**31}}}",
        "kafka = {bootstrap = 'b', records = {t = 't'}, transaction_timeout_seconds = 0}",
        f"kafka = {{bootstrap = 'b', records = {{t = 't'}}, transaction_timeout_seconds = {2**31}}}",
    ],
)
def test_faults_of_a_file_are_settings_errors(tmp_path: Path, line: str):
    file = tmp_path / "serve.toml"
    file.write_text(line + "\n", encoding="utf-8", errors="surrogateescape")
    with pytest.raises(SettingsError) as caught:
        settings_of(ServeSettings, ["--config", str(file), "--folder.root", str(tmp_path)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"attribution_seconds": "inf"}, "attribution_seconds\n  Input should be a finite number"),
        ({"attribution_seconds": 1e18}, "attribution_seconds is 1e\\+18: 10,000,000,000 are the most"),
        ({"quality": {"window_seconds": 10**30}}, "quality\n.* window_seconds is 1e\\+30"),
        ({"quality": {"seconds": "inf"}}, "quality.seconds\n  Input should be a finite number"),
        ({"batch": {"max_ms": 10**14}}, "batch\n.* max_ms is 1e\\+14: 10,000,000,000,000 are the most"),
        (
            {"data_types": {"wine": {"score": "p", "threshold": 50}}},
            "wine.threshold\n  Input should be less than",
        ),
    ],
)
def test_durations_that_no_timer_has_are_refused(change: dict[str, object], says: str):
    """They were tracebacks where the job was submitted, or ended it at its first record."""
    told = {"kafka": {"bootstrap": "k:1"}, "data_types": {"wine": {"score": "p"}}, **change}
    with pytest.raises(ValidationError, match=says):
        OutcomesSettings.model_validate(told)


def test_unknown_flags_are_refused(capsys):
    with pytest.raises((SettingsError, SystemExit)) as caught:
        settings_of(ServeSettings, ["--folder.root", "/x", "--max-bach", "3"])
    assert "max-bach" in str(caught.value) + capsys.readouterr().err


def test_reading_settings_imports_neither_flink_nor_tensorflow():
    heavy = "{'pyflink', 'py4j', 'tensorflow', 'pypmml'}"
    code = f"import sys, jobs.settings.serve; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("more", "gathering"),
    [
        ([], (1024, 4 << 20, 3, 50)),
        (["--mode", "process"], (8192, 4 << 20, 20, 100)),
        (["--mode", "process", "--batch.max-records", "7", "--batch.max-ms", "30"], (7, 4 << 20, 20, 30)),
        (["--batch.max-bytes", "9", "--batch.min-ms", "4"], (1024, 9, 4, 50)),
    ],
)
def test_micro_batches_are_larger_in_process_mode_unless_told(more: list[str], gathering: tuple[int, ...]):
    made = settings_of(ServeSettings, ["--folder.root", "/x", *more]).gathering
    assert (made.max_records, made.max_bytes, made.min_ms, made.max_ms) == gathering


REQUIRED = {
    FeatureSettings: ["--declarations", "views.py", "--redis", "{}"],
    OutcomesSettings: ["--data-types", '{"wine": {"score": "y"}}'],
}
BOTH = ["--kafka.bootstrap", "b:1", "--folder.root", "/x"]


STREAMING = [
    ServeSettings,
    SpeculateSettings,
    ExperimentSettings,
    WatchSettings,
    OutcomesSettings,
    TrackSettings,
    FeatureSettings,
    AssembleSettings,
]


def test_no_two_jobs_share_a_consumer_group_unless_told():
    def group(kind: type[StreamSettings], *flags: str) -> str:
        records = ["--kafka.records", '{"t": "wine"}'] if issubclass(kind, JobSettings) else []
        reached = [*REQUIRED.get(kind, []), "--kafka.bootstrap", "b:1", *records]
        return settings_of(kind, [*reached, *flags]).consumer_group

    assert len({group(kind) for kind in STREAMING}) == len(STREAMING)
    assert group(ServeSettings, "--name", "wine") == "wine"
    assert group(ServeSettings, "--name", "wine", "--kafka.group", "g") == "g"


@pytest.mark.parametrize("kind", STREAMING)
def test_every_job_writes_to_kafka_a_folder_or_both_wherever_it_reads(kind: type[StreamSettings]):
    def places(*flags: str) -> tuple[str, tuple[str, ...]]:
        settings = settings_of(kind, [*REQUIRED.get(kind, []), *flags])
        return settings.reads, settings.writes

    records = ["--kafka.records", '{"t": "wine"}'] if issubclass(kind, JobSettings) else []
    assert places("--folder.root", "/x") == ("folder", ("folder",))
    assert places("--kafka.bootstrap", "b:1", *records) == ("kafka", ("kafka",))
    assert places(*BOTH, *records, "--sinks", "folder") == ("kafka", ("folder",))
    both = ("--sinks", '["kafka", "folder"]')
    assert places(*BOTH, *records, *both) == ("kafka", ("kafka", "folder"))
    assert places(*BOTH, "--source", "folder", *both) == ("folder", ("kafka", "folder"))
    assert places(*BOTH, "--source", "folder") == ("folder", ("folder",))


def test_a_controller_signs_the_plans_that_it_takes_only_signed():
    given = ["--folder.root", "f", "--signing.keys", "keys.toml", "--signing.require", "true"]
    with pytest.raises(SettingsError, match=r"signing\.require needs signing\.key, to sign"):
        settings_of(ExperimentSettings, given)
    given += ["--signing.key", "key.pem", "--signing.key-audience", '["prod"]']
    signing = settings_of(ExperimentSettings, given).signing
    with pytest.raises(SettingsError, match=r"signing\.key_audience must name 'millrace-experiment'"):
        signing.spec("millrace-experiment")
    signing = settings_of(ExperimentSettings, [*given, "--signing.audience", "prod"]).signing
    assert signing.spec("millrace-experiment").require and signing.signs() is not None
