"""Operators that follow models after they were published: what streams look like, and how good predictions
were.

Nothing here scores or computes features.
"""
