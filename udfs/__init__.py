"""The logic without Flink, in wings: loading and running models, serving, ensembles, features, stores,
enrichment and input/output.

Nothing here imports Flink, `operators` or `jobs`, and nothing happens at import.
"""
