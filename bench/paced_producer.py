"""Send records at a rate, each with the clock at which it was handed to the producer.

`python -m bench.paced_producer BOOTSTRAP TOPIC PARTITIONS RATE COUNT`; says `ready`, then sends.
"""

from __future__ import annotations

import sys
import time

from confluent_kafka import Producer

from bench.workload import record, rests


def main(bootstrap: str, topic: str, partitions: int, rate: float, count: int) -> None:
    # At one millisecond a batch is what arrived in it; the client's own delay is part of the latency.
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})
    producer.list_topics(topic, 30)
    made = rests()
    print("ready", flush=True)
    start, sent = time.monotonic(), 0
    while sent < count:
        due = min(count, int((time.monotonic() - start) * rate) + 1)
        for number in range(sent, due):
            value = record(made[number % len(made)], number, time.time_ns() // 1000)
            while True:
                try:
                    producer.produce(topic, value, partition=number % partitions)
                    break
                except BufferError:  # a broker that does not keep up: the wait is part of the latency
                    producer.poll(0.01)
        producer.poll(0)
        sent = due
        time.sleep(max(0.0, min(0.002, start + sent / rate - time.monotonic())))
    producer.flush(30)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
