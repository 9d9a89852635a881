"""Send events at a rate, each with the producer's clock as its event time; every one in PROBE_EVERY is of an
account that is watched, and its amount is its number.

`python -m bench.features_producer BOOTSTRAP TOPIC PARTITIONS RATE FIRST LAST`: numbers FIRST to LAST - 1.
"""

from __future__ import annotations

import random
import sys
import time

from bench.features_workload import ACCOUNTS, event
from bench.paced_producer import send_paced

PROBE_EVERY = 20
WATCHED = tuple(b"w%d" % n for n in range(50))


def main(bootstrap: str, topic: str, partitions: int, rate: float, numbers: range) -> None:
    rng = random.Random(12)
    accounts = [b"a%d" % rng.randrange(ACCOUNTS) for _ in range(10_000)]

    def make(number: int) -> bytes:
        probe, rest = divmod(number, PROBE_EVERY)
        account = accounts[number % len(accounts)] if rest else WATCHED[probe % len(WATCHED)]
        return event(b"f%d" % number, account, time.time_ns() // 1_000_000, number)

    send_paced(bootstrap, topic, partitions, rate, numbers=numbers, make=make)


if __name__ == "__main__":
    main(
        sys.argv[1],
        sys.argv[2],
        int(sys.argv[3]),
        float(sys.argv[4]),
        range(int(sys.argv[5]), int(sys.argv[6])),
    )
