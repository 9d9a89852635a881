"""Results explained: who scored them, and whether what is stored gives the same again.

Nothing here scores in a way of its own; `udfs.serving.scoring` does, as in jobs.
"""
