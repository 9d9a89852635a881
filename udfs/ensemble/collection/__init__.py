"""The collector: answers meet the decision context, and records are decided, counted and sent on.

It calls no model.
"""
