"""Real services on this machine, for the tests and the benchmarks: Kafka, Flink, S3 and Redis.

Each is a context manager that owns its processes and its folder: nothing outlives the block, nor a
runner that is killed inside it.
"""
