"""Which candidates are asked about which record, by the plan in force.

Routing loads no model and waits for nothing.
"""
