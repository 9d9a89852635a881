"""History in Parquet: files, events read back, and views computed from them.

Only batch work is done here.
"""
