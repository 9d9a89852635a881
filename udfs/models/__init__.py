"""Models: what may be loaded, and how it is loaded."""
