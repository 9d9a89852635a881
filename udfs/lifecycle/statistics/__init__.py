"""Summaries of records by feature that add up: over micro-batches, over instances, and of a training file.

Nothing here compares two summaries; that is drift.
"""
