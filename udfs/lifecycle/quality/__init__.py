"""How right a model was, from outcomes: sums that add up over micro-batches, instances and windows.

Nothing here joins results with outcomes; it counts pairs that were joined.
"""
