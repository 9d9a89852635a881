"""`python -m faults`: see `scripts/faults --help`."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path

from faults.hostile import HostilePlan, hostile

_ISOLATIONS = ("process", "thread")
_PROCESS_BYTES = 8 << 30


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/faults",
        description="hostile: every hostile input to running jobs on a cluster, under load of good records. "
        "The last line is JSON; exit code 0: all that must hold did.",
    )
    parser.add_argument("what", choices=("hostile",))
    parser.add_argument("--job", action="append", help="of jobs/, by default serve.py and speculate.py")
    parser.add_argument(
        "--isolation",
        action="append",
        choices=_ISOLATIONS,
        help="of models, by default both; with thread, what only a process of its own holds is left out",
    )
    parser.add_argument("--rate", type=int, default=500, help="good records a second (default: 500)")
    parser.add_argument(
        "--usual", type=float, default=20, help="seconds before the first input (default: 20)"
    )
    parser.add_argument("--told", type=float, default=120, help="seconds until an input must be told of")
    parser.add_argument("--cases", type=Path, action="append", default=[], help="folder with more inputs")
    options = parser.parse_args()
    jobs, isolations = options.job or ["serve.py", "speculate.py"], options.isolation or _ISOLATIONS
    # What should have been bounded and is not ends its own process, and not what else runs on this machine.
    resource.setrlimit(resource.RLIMIT_DATA, (_PROCESS_BYTES, _PROCESS_BYTES))
    plan = HostilePlan(jobs, isolations, options.rate, options.usual, options.told, options.cases)
    figures = hostile(plan)
    print(json.dumps(figures))
    return 0 if figures["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
