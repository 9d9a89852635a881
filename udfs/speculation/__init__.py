"""Speculative execution without Flink: who is asked, by whom it is answered, what is decided."""
