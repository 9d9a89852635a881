"""Simulations that show whether what is promised of tests and alarms holds; each prints its figures as JSON
last.

Nothing here is part of a job, and no time limit is asserted.
"""
