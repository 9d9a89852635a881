"""Operators that decode events, keep feature views and assemble requests.

Their logic is `udfs.features` and `udfs.enrichment`.
"""
