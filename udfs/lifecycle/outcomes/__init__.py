"""Results meet outcomes: how both are read, what is kept until they meet, and what becomes of each.

Nothing here holds a clock, a topic or state of Flink: times come in as numbers, state as a store of bytes.
"""
