"""Models: descriptors and their rules, fetching, checked loading, and the log of what was published.

Nothing here knows micro-batches, streams or topics.
"""
