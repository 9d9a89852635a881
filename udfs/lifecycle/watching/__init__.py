"""Statistics of live streams by data type, model version and window of event time, and what they give reason
to say: the state machines that `jobs/watch.py` drives.

Nothing here knows how statistics are counted or drift is judged; that belongs to the packages below it.
"""
