"""The registry: which features exist, where they come from, which models read them.

Nothing here holds a value of a feature.
"""

DEFAULT_URL = "sqlite:///millrace-registry.db"
"""A file in the working folder. PostgreSQL: postgresql+psycopg://USER:PASSWORD@HOST/DATABASE."""
