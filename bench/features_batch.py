"""Rows a second of `jobs/backfill.py`: a day of events from Parquet, its rows to Parquet."""

from __future__ import annotations

import pyarrow.parquet as pq

from bench.features_job import FeatureJob, Services
from bench.features_workload import VIEW, declare, write_history
from bench.plan import BenchError
from devservices.process import ROOT
from udfs.io.folder_files import visible_files

_LIMIT_S = 900


def rows_a_second(services: Services, job: FeatureJob, rows: int) -> float:
    """On the cluster of `job`, which has been cancelled: from running to finished, without submission.

    BenchError unless it finishes with a row of each event.
    """
    events, out = services.folder / "batch-events", services.folder / "batch-rows"
    write_history(events, rows)
    declare(services.folder / "batch.toml", history=str(events))
    flags = ["--declarations", str(services.folder / "batch.toml"), "--history.url", str(out)]
    flags += ["--dead-letters", str(services.folder / "batch-dead-letters"), "--name", "bench-backfill"]
    rest = job.cluster.rest
    job_id = job.cluster.run(ROOT / "jobs" / "backfill.py", *flags, parallelism=1)
    if (state := rest.wait_ended(job_id, _LIMIT_S)) != "FINISHED":
        raise BenchError(f"jobs/backfill.py is {state}.\n{rest.exceptions(job_id)}\n{job.tail()}")
    kept = sum(pq.read_metadata(file).num_rows for file in visible_files(out / VIEW))
    if kept != rows:
        raise BenchError(f"{rows} events gave {kept} rows")
    moments = rest.call(f"/jobs/{job_id}")["timestamps"]
    return rows / (moments["FINISHED"] - moments["RUNNING"]) * 1000
