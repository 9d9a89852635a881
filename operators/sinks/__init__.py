"""Sinks: Kafka, folders, Parquet history and Redis. Nothing here changes what it writes."""
