"""Pure Python, no Flink: model runtimes, checked loading, and the state machine that scores blocks."""
