"""`millrace on-alert`: one run for alerts that come together, none twice, bounded, and all of it written
down."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Producer

from millrace.alert_log import AlertLog
from millrace.kafka_stream import to_end
from schemas.lifecycle.alert_run import AlertRun, read_run, write_run
from udfs.lifecycle.drift.alerts import Alert, FeatureDrift, drift_alert, read_envelope, write_alert
from udfs.lifecycle.watching.alert_runs import environment_of

LIMIT = 60.0


def alert(feature: str, data_type: str = "wine", start: int = 60_000) -> bytes:
    distances = {"ks": 0.1, "wasserstein": 0.05, "jensen_shannon": 0.0, "chi_squared": 0.0}
    found = FeatureDrift(feature, "ks", distances, distances, 0.0, "up", 1.0, start)
    return write_alert(drift_alert(data_type, start, start + 60_000, [found]), "job", start)


def command(log: Path, script: Path, *more: str) -> list[str]:
    run = f"sh {script}"
    return [sys.executable, "-m", "millrace.cli", "on-alert", "--run", run, "--log", str(log), *more]


def ended(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT, check=False)


def runs(log: Path) -> list[AlertRun]:
    return [read_run(line) for line in log.read_bytes().splitlines()]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Writes down what it was told."""
    file = tmp_path / "train.sh"
    told = "$MILLRACE_ALERT_FEATURES $MILLRACE_ALERT_DATA_TYPE $MILLRACE_ALERT_COUNT"
    file.write_text(
        f'echo "{told}" >> {tmp_path}/told\ncat "$MILLRACE_ALERT_FILE" >> {tmp_path}/events\n',
    )
    return file


def test_alerts_that_come_together_share_a_run_and_none_is_run_twice(tmp_path: Path, script: Path) -> None:
    folder, log = tmp_path / "alerts", tmp_path / "log"
    folder.mkdir()
    first = [alert("x"), alert("y; rm -rf"), alert("x"), alert("z", "tea"), b"nonsense"]
    (folder / "b").write_bytes(b"\n".join(first) + b"\n")
    arguments = command(log, script, "--from-folder", str(folder), "--debounce", "0.5", "--count", "1")
    arguments += ["--data-type", "wine", "--kind", "drift"]
    done = ended(arguments)
    assert done.returncode == 0, done.stderr
    assert "Passed over: this is no alert" in done.stderr
    (folder / "a").write_bytes(alert("new") + b"\n")
    assert ended(arguments).returncode == 0
    assert (tmp_path / "told").read_text() == "x,y; rm -rf wine 2\nnew wine 1\n"
    events = [read_envelope(line).alert for line in (tmp_path / "events").read_bytes().splitlines()]
    assert [e.drift[0].feature for e in events] == ["x", "y; rm -rf", "new"]
    assert [(r.state, len(r.alerts), r.code) for r in runs(log)] == [
        ("started", 2, None),
        ("done", 2, 0),
        ("started", 1, None),
        ("done", 1, 0),
    ]
    assert "x drifts up" in runs(log)[1].text


def test_as_many_alerts_as_come_fit_into_an_environment() -> None:
    odd = alert("z").replace(b'"distance":"ks"', b'"distance":"none"')  # what no job writes
    odd = odd.replace(b'"since":60000', b'"since":1%020d' % 0)
    sent = [alert(f"feature {k}", "w" * 900) for k in range(5_000)] + [odd, alert("\N{SNOWMAN}", "w" * 10**6)]
    alerts = [read_envelope(line) for line in sent]
    told = environment_of(alerts, "file")
    subprocess.run(["true"], env=told, check=True)
    ids = told["MILLRACE_ALERT_IDS"].split(",")
    assert 100 < len(ids) < 130 and ids == [one.id for one in alerts[: len(ids)]]
    assert told["MILLRACE_ALERT_COUNT"] == "5002"
    assert told["MILLRACE_ALERT_FEATURES"].split(",")[-1] in {f"feature {k}" for k in range(5_000)}
    assert environment_of(alerts[-2:-1], "file")["MILLRACE_ALERT_TEXT"] == (
        "wine: z drifts up by at least 0 (none) since 100000000000000000000 ms, 100% of the change"
    )


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    folder, log, script = tmp_path / "alerts", tmp_path / "log", tmp_path / "slow.sh"
    folder.mkdir()
    (folder / "a").write_bytes(alert("x") + b"\n")
    script.write_text(f"sleep 300 &\necho $! > {tmp_path}/child\nwait\n")
    done = ended(
        command(log, script, "--from-folder", str(folder), "--debounce", "0", "--count", "1", "--limit", "1")
    )
    assert done.returncode == 1
    assert [r.state for r in runs(log)] == ["started", "timed_out"]
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + LIMIT
    while _lives(child):  # signals arrive when the system sees to it
        assert time.monotonic() < until
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except FileNotFoundError:
        return False


def test_what_fails_or_cannot_be_run_is_written_down(tmp_path: Path) -> None:
    folder, log, script = tmp_path / "alerts", tmp_path / "log", tmp_path / "fails.sh"
    folder.mkdir()
    (folder / "a").write_bytes(alert("x") + b"\n")
    script.write_text("exit 7\n")
    arguments = ["--from-folder", str(folder), "--debounce", "0", "--count", "1"]
    assert ended(command(log, script, *arguments)).returncode == 1
    assert [(r.state, r.code) for r in runs(log)] == [("started", None), ("failed", 7)]
    other = command(tmp_path / "other", script, *arguments)
    other[other.index("--run") + 1] = "no-such-command"
    assert ended(other).returncode == 1
    assert "no-such-command" in runs(tmp_path / "other")[1].reason


def test_a_run_whose_process_is_gone_is_interrupted_and_not_repeated(tmp_path: Path, script: Path) -> None:
    folder, log = tmp_path / "alerts", tmp_path / "log"
    folder.mkdir()
    old, new = alert("old"), alert("new")
    (folder / "a").write_bytes(old + b"\n" + new + b"\n")
    begun = AlertRun(state="started", alerts=(read_envelope(old).id,), at=1)
    log.write_bytes(write_run(begun) + b"\n" + write_run(begun)[:20])  # and the last line was cut
    arguments = ["--from-folder", str(folder), "--debounce", "0", "--count", "1"]
    assert ended(command(log, script, *arguments)).returncode == 0
    assert [r.state for r in runs(log)] == ["started", "interrupted", "started", "done"]
    assert (tmp_path / "told").read_text() == "new wine 1\n"


def test_who_is_stopped_stops_the_command_too_and_says_so(tmp_path: Path) -> None:
    folder, log, script = tmp_path / "alerts", tmp_path / "log", tmp_path / "slow.sh"
    folder.mkdir()
    (folder / "a").write_bytes(alert("x") + b"\n")
    script.write_text(f"touch {tmp_path}/runs\nexec sleep 300\n")
    arguments = command(log, script, "--from-folder", str(folder), "--debounce", "0")
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + LIMIT
        while not (tmp_path / "runs").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        second = ended(arguments)
        assert second.returncode == 1 and "another millrace on-alert has the log" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
    finally:
        process.kill()
        process.wait()
    assert [(r.state, r.code) for r in runs(log)] == [("started", None), ("stopped", -signal.SIGTERM)]


def test_offsets_are_committed_when_an_alert_is_settled(
    tmp_path: Path, script: Path, mock_broker: tuple[str, Producer]
) -> None:
    bootstrap, producer = mock_broker
    for feature in ("one", "two"):
        producer.produce("alerts", alert(feature), partition=0)  # in order
    assert producer.flush(30) == 0

    def run(log: str) -> subprocess.CompletedProcess[str]:
        more = ("--bootstrap", bootstrap, "--debounce", "2", "--count", "1", "--events-topic", "came")
        # this broker gives a group to the next member only when the one that left would have timed out
        soon = ("--client", "session.timeout.ms=6000")
        return ended(command(tmp_path / log, script, *more, *soon, "--from-beginning"))

    done = run("first")
    assert done.returncode == 0, done.stderr
    producer.produce("alerts", alert("three"))
    assert producer.flush(30) == 0
    done = run("second")  # its log knows nothing: the offsets do
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "told").read_text() == "one,two wine 2\nthree wine 1\n"
    came = [read_run(value) for _, value in to_end(bootstrap, "came", {}, 30) if value is not None]
    assert [run.state for run in came] == ["started", "done"] * 2


@pytest.mark.parametrize("lost", [b"\n", b'\n{"state":"started"'])
def test_a_log_whose_last_line_lost_its_end_goes_on(tmp_path: Path, lost: bytes) -> None:
    """Where its newline alone was lost, the next line was written beside it, and the log was none."""
    log, line = tmp_path / "log", write_run(AlertRun(state="done", alerts=("a",), at=1))
    log.write_bytes(line + lost.removesuffix(b"\n"))
    journal = AlertLog(log, "true", lambda run, line: None)
    assert journal.begin() == {"a"}
    journal.write("done", [read_envelope(alert("x"))])
    first, second = runs(log)
    assert first.alerts == ("a",) and second.alerts != first.alerts


def test_an_alert_reads_back() -> None:
    assert isinstance(read_envelope(alert("x")).alert, Alert)
