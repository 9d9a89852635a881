"""The home of Flink functions, sources and sinks: one operator or connector a file, and at the root what
they share.

Logic that needs no Flink belongs to `udfs`.
"""
