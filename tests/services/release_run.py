"""Run a job by the code of the checkout that this process is in, and stop it with a savepoint when told.

`python release_run.py SAVEPOINT_FOLDER JOB ARGUMENT...` says `running`, waits for a line and says `saved`. It
imports nothing but that checkout's own code.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from urllib.parse import urlparse

from devservices.flink_cluster import StandaloneCluster
from devservices.process import ROOT


def main(folder: Path, job: str, *arguments: str) -> None:
    """The savepoint is copied to `folder`, where it outlives the cluster that made it."""
    with StandaloneCluster(1, {"taskmanager.memory.process.size": "1200m"}) as cluster:
        running = cluster.run(ROOT / "jobs" / job, *arguments)
        cluster.wait_running(running, 180)
        print("running", flush=True)
        sys.stdin.readline()
        savepoint = cluster.stop_with_savepoint(running)
        shutil.copytree(urlparse(savepoint).path, folder)
    print("saved", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
