"""`python -m prove`: see `scripts/prove --help`."""

from __future__ import annotations

import argparse
import json
import sys

from prove.canary import canary
from prove.drift import drift


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/prove",
        description="canary: experiments without and with a difference, judged at every micro-batch. drift: "
        "windows without and with a shift. The last line is JSON; exit code 0: all promises held.",
    )
    parser.add_argument("what", choices=("canary", "drift"))
    parser.add_argument("--runs", type=int, default=1000, help="experiments, or windows (default: 1000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be 1 or more")
    figures = (canary if options.what == "canary" else drift)(options.runs, options.seed)
    print(json.dumps(figures))
    return 0 if figures["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
