"""Files of records and of their scores: CSV, JSON lines, Parquet and Avro, a block at a time."""
