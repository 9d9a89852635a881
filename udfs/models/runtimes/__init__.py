"""Model runtimes: one interface (`base`), and a package or module for each model type.

A runtime opens files that were fetched and checked; it fetches nothing and knows no stream.
"""
