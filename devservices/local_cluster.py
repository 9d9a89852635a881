"""The command behind deploy/start-local-cluster."""

from __future__ import annotations

import argparse
import shlex

from devservices.flink_cluster import StandaloneCluster
from devservices.hold import hold


def main() -> None:
    """Read the flags and start the cluster."""
    parser = argparse.ArgumentParser(prog="deploy/start-local-cluster")
    parser.add_argument("--task-managers", type=int, default=1, help="one slot each")
    parser.add_argument("--rest-port", type=int, default=8081, help="of the dashboard")
    parser.add_argument("--data", help="URI of checkpoints and savepoints; default: gone with the cluster")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="Flink settings that replace ours")
    chosen = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in chosen.settings)
    if chosen.data:
        settings["execution.checkpointing.dir"] = f"{chosen.data}/checkpoints"
        settings["execution.checkpointing.savepoint-dir"] = f"{chosen.data}/savepoints"
    hold(
        "start-local-cluster",
        lambda: StandaloneCluster(chosen.task_managers, settings, chosen.rest_port),
        announce,
    )


def announce(cluster: StandaloneCluster) -> None:
    """Say how to reach the cluster."""
    print(f"Dashboard: {cluster.rest.url}. For `flink` in another terminal:\n")
    for name in sorted(cluster.env.keys()):
        if name.startswith("FLINK_"):
            print(f"export {name}={shlex.quote(cluster.env[name])}")
    print('export PATH="$FLINK_HOME/bin:$PATH"\n\nCtrl-C ends the cluster.', flush=True)


if __name__ == "__main__":
    main()
