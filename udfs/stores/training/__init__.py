"""Training sets: history joined to labels as it was known at the time. Nothing here trains a model."""
