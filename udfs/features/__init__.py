"""Computing features: aggregations, windows, the engine of a view. Pure Python and Arrow, no Flink."""
