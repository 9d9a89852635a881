"""Clients of S3, Kafka and folders: bytes and records in. Nothing here knows what the bytes mean."""
