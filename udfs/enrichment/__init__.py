"""The feature vector that a prediction request needs, looked up and, where it is missing, created on
demand.

Nothing here scores.
"""
