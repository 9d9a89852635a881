"""`python -m bench`: see `scripts/bench --help`."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import features_run, peers, profile, report, scale, serving, speculate
from bench.plan import BenchError, Plan
from bench.race import CASES, RaceSpec
from bench.subjects import JobSpec
from devservices.kafka import KafkaBroker
from devservices.process import ServiceError

_INTERRUPTED = 130
_LEAST_RECORDS = 20_000


def main() -> int:
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    # A proxy is for the world outside; Flink's own interface is on this machine.
    os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("no_proxy"), "127.0.0.1")))
    try:
        with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
            command = _command(options)
            with KafkaBroker(heap="1g") as broker:
                command(broker, _plan(options), Path(folder))
    except KeyboardInterrupt:
        print("Stopped; nothing is left running.", file=sys.stderr)
        return _INTERRUPTED
    except (BenchError, ServiceError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


def _command(options: argparse.Namespace) -> Callable[[KafkaBroker, Plan, Path], None]:
    if options.command == "serving":
        return serving.serving
    if options.command == "features":
        return features_run.features
    if options.command == "speculate":
        race = RaceSpec(options.slots)
        cases = [options.case] if options.case else list(CASES)
        return lambda broker, plan, folder: speculate.speculate(broker, plan, folder, race, cases)
    if options.command == "scale":
        return scale.scale
    if options.command == "peers":
        peers.install(report.say)
        return peers.peers
    spec = JobSpec(options.job, options.mode, options.exactly_once)
    return lambda broker, plan, folder: profile.profile(broker, plan, folder, spec)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--records", type=int, help="a run, a third of them to warm up (3,000,000; quick: 200,000)"
    )
    shared.add_argument("--rounds", type=int, help="3; quick: 1")
    shared.add_argument("--phase-seconds", type=float, help="of each latency phase (20; quick: 5)")
    shared.add_argument("--keys", action="store_true", help="records have one of 1,000 keys")
    shared.add_argument("--quick", action="store_true", help="minutes; says that all works, not how fast")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serving", parents=[shared], help="the jobs against a bare Kafka loop")
    commands.add_parser("peers", parents=[shared], help="Quix Streams and Bytewax at the same work")
    commands.add_parser("features", parents=[shared], help="the feature jobs, Redis, state and freshness")
    commands.add_parser("scale", parents=[shared], help="shares and throughput of 1 to 16 instances")
    race = commands.add_parser("speculate", parents=[shared], help="models that race for each record")
    race.add_argument("--case", choices=list(CASES), help="one alone: all well, one stuck, one slow")
    race.add_argument(
        "--slots",
        choices=["shared", "apart"],
        default="shared",
        help="apart: the executor in a slot of its own",
    )
    by_thread = commands.add_parser("profile", parents=[shared], help="processor time by thread of a job")
    by_thread.add_argument(
        "--job", choices=["serve.py", "serve_partitioned.py", profile.FEATURES], default="serve.py"
    )
    by_thread.add_argument("--mode", choices=["thread", "process"], default="thread")
    by_thread.add_argument("--exactly-once", action="store_true")
    chosen = parser.parse_args()
    if chosen.records is not None and chosen.records < _LEAST_RECORDS:
        parser.error(f"--records must be at least {_LEAST_RECORDS:,}")
    if (chosen.rounds or 1) < 1 or (chosen.phase_seconds or 1) < 1:
        parser.error("--rounds and --phase-seconds must be at least 1")
    return chosen


def _plan(options: argparse.Namespace) -> Plan:
    quick = Plan(records=200_000, rounds=1, warm_s=3, phase_s=5) if options.quick else Plan()
    return Plan(
        records=options.records or quick.records,
        rounds=options.rounds or quick.rounds,
        warm_s=quick.warm_s,
        phase_s=options.phase_seconds or quick.phase_s,
        keys=options.keys,
    )


def _interrupt(number: int, frame: Any) -> None:
    # A second signal, which `timeout` and impatient people send, must not cut the end short.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError):
            signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
