"""The `millrace` command, and what users' own code imports: the modules in `__all__`, and no others.

It stands on `udfs` and `schemas` only, and imports what is heavy when it is used. Modules that are not in
`__all__` are the command's own and may change with every release.
"""

__all__ = [
    "__version__",
    "aggregations",
    "codecs",
    "errors",
    "experiments",
    "plans",
    "publishing",
    "results",
    "views",
]

__version__ = "0.4.0a0"
