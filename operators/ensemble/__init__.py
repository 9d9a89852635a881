"""Operators that route, execute and collect for several models. Their logic is `udfs.ensemble`."""
