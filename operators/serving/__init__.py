"""Operators that score micro-batches with one model a data type. Their logic is `udfs.serving`."""
