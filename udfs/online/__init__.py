"""The online store: writing and reading feature values in the layout of Feast on Redis."""
