"""Whether a stream still looks like its training set, and a model is as good as it was, with a stated rate of
false alarms.

Nothing here counts records: it compares statistics that were counted elsewhere.
"""
