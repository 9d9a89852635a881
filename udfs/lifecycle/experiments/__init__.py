"""Experiments between models: how they are declared, who is in which arm, and what the evidence says to do.

Nothing here changes a plan or reads a topic: a job acts on the decision.
"""
