"""The home of Flink functions, sources and sinks: one operator or connector a file."""
