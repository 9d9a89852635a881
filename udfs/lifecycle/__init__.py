"""The life of a model as numbers: statistics of data, drift, quality from outcomes, and experiments.

Nothing here reads a topic, holds a clock or decides for a job: what comes in is counts, what goes out is evidence.
"""
