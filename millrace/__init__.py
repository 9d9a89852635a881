"""The `millrace` command and what users' own code imports.

It stands on `udfs` and `schemas` only, and imports what is heavy when it is used.
"""
