"""Feature history: rows as text on their way to Parquet, what lies in the store, and reading it back."""
