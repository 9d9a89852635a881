"""The command behind deploy/start-local-kafka."""

from __future__ import annotations

import argparse

from devservices.hold import hold
from devservices.kafka import KafkaBroker

OUTPUTS = ("models", "results", "dead-letters", "model-events", "model-stats")


def main() -> None:
    """Start the broker, create the topics of a serving job, and hold it."""
    parser = argparse.ArgumentParser(prog="deploy/start-local-kafka")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("topics", nargs="*", help="topics of records to create, with four partitions each")
    chosen = parser.parse_args()

    def announce(broker: KafkaBroker) -> None:
        # models that were published long ago still serve
        broker.create_topics(OUTPUTS[0], config={"retention.ms": "-1"})
        broker.create_topics(*OUTPUTS[1:-1])
        broker.create_topics(OUTPUTS[-1], config={"cleanup.policy": "compact"})
        broker.create_topics(*chosen.topics, partitions=4)
        print(f"Kafka: {broker.bootstrap}, topics {', '.join([*chosen.topics, *OUTPUTS])}.")
        print("Ctrl-C ends it; its data goes with it.", flush=True)

    hold("start-local-kafka", lambda: KafkaBroker(port=chosen.port), announce)


if __name__ == "__main__":
    main()
