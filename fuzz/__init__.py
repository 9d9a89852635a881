"""Bytes of strangers against each reader of them: `scripts/fuzz`."""
