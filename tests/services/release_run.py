"""Run a job by the code of the checkout that this process is in, and stop it with a savepoint when told.

`python release_run.py SAVEPOINT_FOLDER REST_PORT RPC_PORT JOB ARGUMENT...` says `running`, waits for a line
and says `saved`. It imports nothing but that checkout's own code. The ports are given because a release may
choose one that the cluster's next socket gets.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from urllib.parse import urlparse

from devservices.flink_cluster import StandaloneCluster
from devservices.process import ROOT


def main(folder: Path, rest_port: int, rpc_port: int, job: str, *arguments: str) -> None:
    """The savepoint is copied to `folder`, where it outlives the cluster that made it."""
    settings = {"taskmanager.memory.process.size": "1200m", "jobmanager.rpc.port": str(rpc_port)}
    with StandaloneCluster(1, settings, rest_port) as cluster:
        running = cluster.run(ROOT / "jobs" / job, *arguments)
        cluster.wait_running(running, 180)
        print("running", flush=True)
        sys.stdin.readline()
        savepoint = cluster.stop_with_savepoint(running)
        shutil.copytree(urlparse(savepoint).path, folder)
    print("saved", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
