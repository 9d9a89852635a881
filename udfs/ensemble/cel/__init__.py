"""CEL rules over records, evaluated by columns where that is possible.

Nothing here knows plans or candidates.
"""
