"""Tests that may be asked after every micro-batch: e-processes, and bounds that hold at all times at once.

Nothing here knows what is tested: that is drift, quality or an experiment.
"""
