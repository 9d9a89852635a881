"""`scripts/bench profile`: which thread of the job in thread mode takes the processor's time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.table import Table

from bench import features_throughput, report
from bench.features_job import STORES, Services
from bench.model import save
from bench.plan import Plan
from bench.processes import cpu_seconds, java_thread_names, thread_seconds, tree
from bench.serving import job
from bench.subjects import JobSpec
from bench.throughput import Span, measure
from devservices.kafka import KafkaBroker
from devservices.redis import Redis

FEATURES = "features.py"
Reading = tuple[float, Counter[tuple[int, int, str]]]


def profile(broker: KafkaBroker, plan: Plan, folder: Path, spec: JobSpec) -> None:
    """Run the job once and print processor seconds a million records by thread."""
    if spec.job == FEATURES:
        with Redis() as redis:
            services = Services(broker, redis, folder)
            by_thread(str(spec), lambda probe: features_throughput.measure(services, plan, STORES, probe))
        return
    subject = job(save(folder / "model"), spec)
    by_thread(str(spec), lambda probe: measure(broker, plan, subject, probe))


def by_thread(title: str, run: Callable[[Callable[[Sequence[int]], Reading]], Span[Reading]]) -> None:
    """`run` calls what it is given at the begin and the end of its span, with ids of processes."""
    names: dict[int, str] = {}
    probes = iter((_probe, partial(_probe_with_names, names=names)))
    span = run(lambda roots: next(probes)(roots))  # noqa: PLW0108
    used: Counter[str] = Counter()
    for key, seconds in span.after[1].items():
        used[_family(names.get(key[1], key[2]))] += seconds - span.before[1].get(key, 0)
    total = span.after[0] - span.before[0]
    used["(threads that have ended)"] = total - sum(used.values())  # type: ignore[assignment]
    table = Table("thread", title=f"{title}: {span.results / span.seconds:,.0f} records/s")
    for column in ("CPU s per million", "share of one core"):
        table.add_column(column, justify="right")
    for name, seconds in used.most_common(20):
        if seconds / total > 0.002:
            table.add_row(name, f"{seconds / span.results * 1e6:.2f}", f"{seconds / span.seconds:.0%}")
    table.add_section()
    table.add_row("all", f"{total / span.results * 1e6:.2f}", f"{total / span.seconds:.0%}")
    report.console.print(table)


def _probe(roots: Sequence[int]) -> Reading:
    return cpu_seconds(roots), thread_seconds(roots)


def _probe_with_names(roots: Sequence[int], names: dict[int, str]) -> Reading:
    """At the last mark also the whole names: asking the JVMs takes a second, at the first it would count."""
    reading = _probe(roots)
    for pid in tree(roots):
        if (Path("/proc") / str(pid) / "comm").read_text().strip() == "java":
            names |= java_thread_names(pid)
    return reading


def _family(name: str) -> str:
    """Threads that differ by number only are one row."""
    return re.sub(r"\s*\d+$|#\d+", "", re.sub(r"\(\d+/\d+\)", "", name))[:80]
