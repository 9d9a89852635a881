"""Sources: Kafka, folders, history and timers as streams. Nothing here scores or computes."""
