"""`scripts/bench peers`: the same work on Quix Streams and Bytewax, in an environment of their own."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import latency, report
from bench.model import save
from bench.plan import BenchError, Plan
from bench.serving import BATCHES, THREAD, bare, bare_name, best_bare, interleaved, job
from bench.subjects import JobSpec, Make, Program
from bench.throughput import Throughput
from bench.workload import Topics
from devservices.kafka import KafkaBroker
from devservices.process import ROOT

PINS = Path(__file__).with_name("peers.lock")
ENVIRONMENT = ROOT / ".cache" / "peers"
PEERS = {"Quix Streams": "peer_quix.py", "Bytewax": "peer_bytewax.py"}
RATE = 2000


def install(say: Callable[[str], None]) -> None:
    """Make .cache/peers with what peers.lock pins, unless it is there. BenchError with pip's words."""
    stamp = ENVIRONMENT / "installed"
    wanted = hashlib.sha256(PINS.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    say("installing Quix Streams, Bytewax and TensorFlow into .cache/peers")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    pip = str(ENVIRONMENT / "bin" / "pip")
    for command in (
        ["python3.11", "-m", "venv", str(ENVIRONMENT)],
        [pip, "install", "-q", "--no-deps", "-r", str(PINS)],
        [pip, "check"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise BenchError(f"{' '.join(command)} failed.\n{(done.stdout + done.stderr)[-3000:]}")
    stamp.write_text(wanted)


def peers(broker: KafkaBroker, plan: Plan, folder: Path) -> None:
    """Measure the bare loop, our job and the peers in turns; print one table and one line of JSON."""
    model = save(folder / "model")
    subjects: dict[str, Make] = {bare_name(batch): bare(model, batch) for batch in BATCHES}
    subjects[THREAD] = job(model, JobSpec())
    for name, script in PEERS.items():
        subjects[name] = functools.partial(peer, model=model, script=script)
    runs = interleaved(broker, plan, subjects)
    timed = {name: _latency(broker, plan, name, make) for name, make in subjects.items()}
    base = best_bare(runs)
    title = f"{plan.records:,} records of 250 bytes, {plan.rounds} round(s), medians"
    report.console.print(report.rates(title, runs, base))
    report.console.print(report.latencies(f"End to end at {RATE:,} records/s", timed, "subject"))
    print(json.dumps(_numbers(runs, timed, base)), flush=True)


def peer(topics: Topics, model: Path, script: str) -> Program:
    """A peer's program, in the peers' environment."""
    names = (topics.name("records"), topics.name("results"))
    program = [
        "-W",
        "ignore",
        "-m",
        f"bench.{Path(script).stem}",
        topics.broker.bootstrap,
        *names,
        str(model),
    ]
    return Program(Path(script).stem, [str(ENVIRONMENT / "bin" / "python"), *program])


def _latency(broker: KafkaBroker, plan: Plan, name: str, make: Make) -> dict[str, float]:
    with Topics(broker, plan.partitions) as topics, make(topics) as subject:
        found = report.percentiles(latency.measure(topics, plan, subject, RATE).ms)
    report.say(f"latency of {name} at {RATE:,} records/s: p50 {found['p50']} ms, p99 {found['p99']} ms")
    return found


def _numbers(
    runs: Mapping[str, Sequence[Throughput]], timed: Mapping[str, Mapping[str, float]], base: str
) -> dict[str, object]:
    bare_eps = report.median_eps(runs[base])
    return {
        name: {
            "eps": round(report.median_eps(found)),
            "ratio": round(report.median_eps(found) / bare_eps, 3),
            "cpu_s_per_million": round(report.median_cpu(found), 2),
            **timed[name],
        }
        for name, found in runs.items()
    }
