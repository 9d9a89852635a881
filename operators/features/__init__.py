"""Operators that decode events, keep feature views and assemble requests.

Their logic belongs to `udfs.features` and `udfs.enrichment`.
"""
