"""Send events at a rate, each with the producer's clock as its event time; every one in PROBE_EVERY is of an
account that is watched, and its amount is its number.

`python -m bench.features_producer BOOTSTRAP TOPIC PARTITIONS RATE FIRST LAST`: numbers FIRST to LAST - 1.
"""

from __future__ import annotations

import random
import sys
import time

from confluent_kafka import Producer

from bench.features_workload import ACCOUNTS, event

PROBE_EVERY = 20
WATCHED = tuple(b"w%d" % n for n in range(50))


def main(bootstrap: str, topic: str, partitions: int, rate: float, numbers: range) -> None:
    # At one millisecond a batch is what arrived in it; the client's own delay is part of what is measured.
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})
    producer.list_topics(topic, 30)
    rng = random.Random(12)
    accounts = [b"a%d" % rng.randrange(ACCOUNTS) for _ in range(10_000)]
    start, sent = time.monotonic(), numbers.start
    while sent < numbers.stop:
        due = min(numbers.stop, numbers.start + int((time.monotonic() - start) * rate) + 1)
        for number in range(sent, due):
            probe, rest = divmod(number, PROBE_EVERY)
            account = accounts[number % len(accounts)] if rest else WATCHED[probe % len(WATCHED)]
            value = event(b"f%d" % number, account, time.time_ns() // 1_000_000, number)
            while True:
                try:
                    producer.produce(topic, value, partition=number % partitions)
                    break
                except BufferError:  # a broker that does not keep up: the wait is part of what is measured
                    producer.poll(0.01)
        producer.poll(0)
        sent = due
        time.sleep(max(0.0, min(0.002, start + (sent - numbers.start) / rate - time.monotonic())))
    producer.flush(30)


if __name__ == "__main__":
    main(
        sys.argv[1],
        sys.argv[2],
        int(sys.argv[3]),
        float(sys.argv[4]),
        range(int(sys.argv[5]), int(sys.argv[6])),
    )
