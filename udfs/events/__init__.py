"""From records to the events of views, and how far a source has been read."""
