"""The online store: values, their layout, and Redis. Nothing here knows a view's computation."""
