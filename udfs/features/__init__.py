"""Feature views: the engine, aggregations, steps and expressions over events.

Nothing here reads or writes a store.
"""
