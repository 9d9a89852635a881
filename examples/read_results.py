"""Who scored what: `python examples/read_results.py FOLDER` counts the results that a job wrote into a
folder.

From Kafka it would be `results_of("results", "HOST:PORT")`.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from millrace.results import Outcome, results_in


def main(folder: Path) -> None:
    found: Counter[str] = Counter()
    for result in results_in(folder):
        if result.outcome is Outcome.SCORED:
            found[f"{result.model} version {result.version}"] += 1
        else:
            found[f"{result.outcome.value}: {result.reason}"] += 1
    for who, count in found.most_common():
        print(f"{count} {who}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
