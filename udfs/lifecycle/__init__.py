"""The life of a model as numbers: statistics of data, drift, quality from outcomes, and experiments.

Nothing here reads a topic or holds a clock: what comes in is counts, what goes out is evidence.
"""
