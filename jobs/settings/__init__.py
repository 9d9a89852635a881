"""The settings of all jobs, as typed objects that `main` builds once.

Nothing here imports Flink or a model runtime.
"""
