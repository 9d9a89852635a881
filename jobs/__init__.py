"""Jobs: one a file, wiring and `main` only.

Settings are in `jobs.settings`; logic belongs to `operators` and `udfs`.
"""
