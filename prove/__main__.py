"""`python -m prove`: see `scripts/prove --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from prove.canary import canary
from prove.drift import drift
from prove.live_canary import live_canary
from prove.sampling import sampling

_PROOFS: dict[str, Callable[[int, int], Mapping[str, Any]]] = {
    "canary": canary,
    "drift": drift,
    "live-canary": live_canary,
    "sampling": sampling,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/prove",
        description="canary: experiments without and with a difference, judged at every micro-batch. drift: "
        "windows without and with a shift. sampling: experiments whose shares follow the evidence. "
        "live-canary: the time from evidence to the changed plan in force, "
        "in real jobs. The last line is JSON; exit code 0: all promises held.",
    )
    parser.add_argument("what", choices=_PROOFS)
    parser.add_argument(
        "--runs", type=int, default=None, help="experiments, or windows (default: 1000; live-canary: 10)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--live", type=int, default=0, metavar="RUNS", help="canary: with so many rollbacks of live-canary"
    )
    options = parser.parse_args()
    if options.live < 0:
        parser.error("--live must be 0 or more")
    if options.live and options.what != "canary":
        parser.error("--live is of canary")
    if options.runs is None:
        options.runs = 10 if options.what == "live-canary" else 1000
    if options.runs < 1:
        parser.error("--runs must be 1 or more")
    figures: Mapping[str, Any] = _PROOFS[options.what](options.runs, options.seed)
    if options.live:
        live = live_canary(options.live, options.seed)
        figures = {**figures, **live, "held": figures["held"] and live["held"]}
    print(json.dumps(figures))
    return 0 if figures["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
