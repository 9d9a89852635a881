"""Operators that route, execute and collect for several models. Their logic belongs to `udfs.ensemble`."""
