"""Where features lie: the online store, history, the registry and training sets.

Nothing here computes a view over a stream.
"""
