"""Operators that score micro-batches with one model a data type. Their logic belongs to `udfs.serving`."""
