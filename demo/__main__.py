"""`python -m demo`: see `scripts/demo --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from demo.house.run import house_prices
from demo.lifecycle.run import lifecycle
from demo.race.run import race
from demo.running import run
from demo.serve import serve

DEMOS = {
    "serve": (serve, 30_000, 2500),
    "speculate": (race, 16_000, 1000),
    "features": (house_prices, 24_000, 6000),
    "lifecycle": (lifecycle, 0, 250),
}
"""How many records each demo streams by default, and how many a second; of features: sales, and events; of
lifecycle as many as its story needs."""


def main() -> int:
    options = _options()
    return run(DEMOS[options.demo][0], options)


def _options() -> argparse.Namespace:
    def positive(text: str) -> int:
        if (number := int(text)) < 1:
            raise ValueError
        return number

    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="serve: train models, serve them on Flink's mini cluster, replace them while records "
        "flow, and check every result. speculate: three models race for each record; one gets "
        "slow, the plan that decides changes, one is unpublished. features: features of house "
        "sales, a training set, a model of it, and requests that it scores with features from "
        "Redis. lifecycle: a worse model is rolled back by itself, a better one promoted, the "
        "data drift and an alert trains a third. Exit code 0: no record was lost, doubled or "
        "stamped with a version that did not score it, and all went as planned.",
    )
    parser.add_argument(
        "demo", nargs="?", choices=DEMOS, default="serve", help="what to show (default: serve)"
    )
    many = ", ".join(f"{name}: {records or 'as it needs'}" for name, (_, records, _) in DEMOS.items())
    parser.add_argument("--records", type=positive, help=f"how many (default: {many})")
    rates = ", ".join(f"{name}: {rate}" for name, (_, _, rate) in DEMOS.items())
    parser.add_argument("--rate", type=positive, help=f"records a second (default: {rates})")
    parser.add_argument("--seed", type=int, default=0, help="of the training and of the order of records")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder and leave it there")
    options = parser.parse_args()
    _, records, rate = DEMOS[options.demo]
    options.records, options.rate = options.records or records, options.rate or rate
    if options.keep is not None:
        if options.keep.exists() and (not options.keep.is_dir() or any(options.keep.iterdir())):
            parser.error(f"--keep {options.keep}: there is something in it; name a new folder")
        options.keep.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    sys.exit(main())
