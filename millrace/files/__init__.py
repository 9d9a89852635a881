"""Files of records and of their scores: CSV, JSON lines, Parquet and Avro, a batch at a time.

Nothing here knows a model: records go in and out as they lie in the file.
"""
