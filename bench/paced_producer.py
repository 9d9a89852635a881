"""Send records at a rate, each with the clock at which it was handed to the producer.

`python -m bench.paced_producer BOOTSTRAP TOPIC PARTITIONS RATE COUNT`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from confluent_kafka import Producer

from bench.topics import send
from bench.workload import record, rests


def send_paced(
    bootstrap: str, topic: str, partitions: int, rate: float, *, numbers: range, make: Callable[[int], bytes]
) -> None:
    """Make the message of each number when it is due, and send it, to the partitions by turns."""
    # At one millisecond a batch is what arrived in it; the client's own delay is part of what is measured.
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})
    producer.list_topics(topic, 30)
    start, sent = time.monotonic(), numbers.start
    while sent < numbers.stop:
        due = min(numbers.stop, numbers.start + int((time.monotonic() - start) * rate) + 1)
        for number in range(sent, due):
            send(producer, topic, make(number), 0.01, partition=number % partitions)
        producer.poll(0)
        sent = due
        time.sleep(max(0.0, min(0.002, start + (sent - numbers.start) / rate - time.monotonic())))
    producer.flush(30)


def main(bootstrap: str, topic: str, partitions: int, rate: float, count: int) -> None:
    made = rests()

    def make(number: int) -> bytes:
        return record(made[number % len(made)], number, time.time_ns() // 1000)

    send_paced(bootstrap, topic, partitions, rate, numbers=range(count), make=make)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
